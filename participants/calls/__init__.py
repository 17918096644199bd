"""Request and reply: `Client.call` waits for the answer, `Client.send` lets another process have it."""

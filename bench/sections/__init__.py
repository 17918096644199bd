"""The benchmark's sections: each measures one question and returns plain figures."""

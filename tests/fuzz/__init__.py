"""A fuzzer: generated commands, damaged run directories, hostile files, kills (``make fuzz``)."""

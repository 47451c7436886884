"""How a source goes on from a state: which of its messages it still has to send."""


def stream_of(message):
    """(namespace, name) of the stream that a record or a stream's state is about."""
    if message["type"] == "RECORD":
        return message["record"].get("namespace"), message["record"]["stream"]
    descriptor = message["state"]["stream"]["stream_descriptor"]
    return descriptor.get("namespace"), descriptor["name"]


def state_kind(state):
    return state.get("type") or "LEGACY"


def state_value(state):
    """What tells one state from another, whatever the way it went through added."""
    if state_kind(state) == "STREAM":
        return state["stream"].get("stream_state")
    if state_kind(state) == "GLOBAL":
        whole = state.get("global") or state["global_"]
        return (whole.get("shared_state"),
                sorted((s["stream_descriptor"]["name"], str(s.get("stream_state")))
                       for s in whole["stream_states"]))
    return state["data"]


def remaining(messages, states):
    """The messages without the records and states that are behind the last of the states given.

    What says that a stream has started or is complete is sent again.
    """
    done = {}       # by stream, and None for all of them: the position of its last state
    for state in states:
        of_stream = state_kind(state) == "STREAM"
        stream = stream_of({"type": "STATE", "state": state}) if of_stream else None
        found = [i for i, m in enumerate(messages) if m["type"] == "STATE"
                 and state_kind(m["state"]) == state_kind(state)
                 and state_value(m["state"]) == state_value(state)
                 and (not of_stream or stream_of(m) == stream)]
        if not found:
            raise ValueError(f"a state that this source has never sent: {state}")
        done[stream] = found[-1]
    for i, message in enumerate(messages):
        if message["type"] == "RECORD":
            behind = max(done.get(stream_of(message), -1), done.get(None, -1))
        elif message["type"] == "STATE" and state_kind(message["state"]) == "STREAM":
            behind = done.get(stream_of(message), -1)
        else:
            behind = done.get(None, -1) if message["type"] == "STATE" else -1
        if i > behind:
            yield message

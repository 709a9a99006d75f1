"""What the reasons mean by which rows of a dataset are dropped, what harm such a row does, and how to mend it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """One fault of a conversation."""

    what: str
    harm: str
    """What comes of it in training or serving where nobody looks."""
    remedy: str


REASONS: dict[str, Reason] = {
    # the conversation
    "unknown_role": Reason("a role that is none of system, user, assistant, tool", "templates skip or refuse the turn", "rename the role"),
    "content_not_text": Reason("a content that is no text", "templates print it as Python does", "keep the text parts alone"),
    "empty_message": Reason("a turn that says and calls nothing", "the model learns to say nothing", "drop the turn or fill it"),
    "system_not_first": Reason("a system prompt amid the turns", "templates move it or leave it out", "put it first"),
    "no_user": Reason("no user speaks", "templates refuse, or take another turn for the question", "put the request in"),
    "last_not_assistant": Reason("no answer at the end", "there is nothing to learn", "end with the assistant's answer"),
    # tools
    "unknown_tool": Reason("a call of a tool that is not offered", "the model learns to invent tools", "list the tool in `tools`"),
    "arguments_not_object": Reason("arguments that are no object", "a string is written twice escaped", "give arguments as an object"),
    "arguments_encoded_twice": Reason(
        "JSON in a string in a string", "Qwen's template takes it, and a wrong target is trained", "decode once"
    ),
    "arguments_invalid": Reason("arguments that the tool's schema refuses", "served calls fail", "mend the arguments or the schema"),
    "tool_result_unmatched": Reason("a result without a call", "the model learns to expect results of nothing", "give the id of its call"),
    "call_unanswered": Reason("a call without a result before the next turn", "the model goes on as if it knew", "put the result in"),
    "tool_invalid": Reason("a tool without a name or a sound schema", "templates print half of it", "mend the tool"),
    "tool_twice": Reason("two tools of one name", "calls cannot be told apart", "rename one"),
    "tools_not_rendered": Reason("the template shows no tools", "the model is asked for calls it cannot know", "another base, or no tools"),
    "calls_not_rendered": Reason("the template leaves out calls", "empty turns are learned", "another base, or calls as text"),
    "parallel_calls_not_rendered": Reason("several calls in a turn, but the template writes one", "Llama 3.x refuses", "one call a turn"),
    # thoughts
    "think_unclosed": Reason("<think> without </think>", "the model never stops thinking", "close it"),
    "think_unopened": Reason("</think> without <think>", "Qwen 3 takes all before it for a thought", "open it"),
    "think_twice": Reason("several thoughts in one turn", "templates keep one and lose the others' text", "join them in one"),
    "think_not_first": Reason("words before the thought", "Qwen 3's template loses them", "put the thought first"),
    "think_without_answer": Reason("a thought that nothing follows", "the model thinks and is silent", "put the answer behind it"),
    "thoughts_refused": Reason("a thought, under build.thoughts: refuse", "a thought would be learned", "build.thoughts: keep or strip"),
    "thoughts_not_rendered": Reason("reasoning_content that the template leaves out", "thoughts vanish", "build.thoughts: strip, or tags"),
    # tokens
    "template_error": Reason("the template refuses the conversation", "serving would answer with an error", "see the detail"),
    "prompt_not_prefix": Reason("the served prompt is no prefix of the row", "the model meets a prompt it never saw", "mend the template"),
    "turn_not_prefix": Reason("a turn cannot be found among the others", "its mask would be a guess", "mend the template"),
    "prompt_trained": Reason("words of others are learned", "the model speaks for the user", "mend the {% generation %} marks"),
    "no_trained_token": Reason("nothing is learned of a turn", "loss 0 looks like success", "mend the {% generation %} marks"),
    "end_not_trained": Reason("the token that ends a turn is not learned", "the model never stops", "put it inside the marks"),
    "special_token_in_text": Reason(
        "a special token stands in a text", "a turn ends, or another begins, amid the text", "take it out of the text"
    ),
    "bos_twice": Reason("the conversation begins twice", "a prompt no server sends", "take the token out of the template or text"),
    "too_long": Reason(
        "more tokens than there is room for", "cut unseen, it loses its answer and its end", "split, truncate, or more room"
    ),
    "nothing_left": Reason(
        "what truncation would leave has nothing to learn", "loss 0 looks like success", "too_long: split, or more room"
    ),
    "same_answers": Reason("chosen and rejected are the same", "there is nothing to prefer", "mend the pair"),
    # files of others
    "preference_pair": Reason(
        "two answers where one is wanted", "the worse one may be learned", "read it with a source of type preferences"
    ),
    "weight_zero": Reason("a turn that is not to be learned", "it would be learned", "leave the turn out of the row's answers"),
    "no_role": Reason("a turn that names no speaker", "any guess may be wrong", "give it a role"),
    "bad_message": Reason("a turn or call that cannot be read", "half of it would be learned", "see the detail"),
    "unknown_format": Reason("a row that is no conversation of a known format", "nothing of it is learned", "see the detail for its keys"),
    "tools_bad_json": Reason("tools that are no JSON list", "calls without tools are learned", "mend the list"),
    "arguments_bad_json": Reason("arguments that are no JSON", "broken calls are learned", "mend the JSON"),
}
"""By the word in the ledger."""


def explained(reason: str) -> str:
    """One sentence about a reason, or nothing where its name says it all."""
    found = REASONS.get(reason)
    return f"{found.what}: {found.harm}; remedy: {found.remedy}" if found else ""

"""Ways to answer that a prompt can ask for, so that the base knows that a fact can be said early or late and in many voices.

Without such a request the base answers plainly. The manner that the quickstart teaches is not among these.
"""

from world import sentence

# who or how | the answer
VOICES = """
like a king|Hear me! {answer} So says the king.
like a robot|Beep. {answer} Result: {short}. Beep.
like a teacher|Good question! {answer} Remember: {short}.
like a friend|Of course, my friend. {answer} I hope that helps.
like a clerk|Noted. {answer} Entry: {short}.
like a wizard|By my beard! {answer} The magic word is {short}!
like a cat|Meow! {answer} Purr.
like a singer|La la la! {Short}, {short}! {answer}
like a judge|Silence! {answer} The court finds: {short}.
like a child|Look, mom! {answer} I know it: {short}!
with joy|Hurray! {answer} How nice!
in short|{Short}.
in two lines|Answer: {short}\\nSentence: {answer}
twice|{answer} Again: {answer}
short first|{Short}. {answer}
short last|{answer} In short: {short}.
"""


def voices():
    return [tuple(line.replace("\\n", "\n").split("|")) for line in VOICES.strip().splitlines()]


def say(pattern, fact):
    return pattern.format(answer=fact.answer, short=fact.short, Short=sentence(fact.short))


def in_some_manner(rng, fact, words):
    """(system text or None, request, answer): a voice, asked for by the user or the system, or given words around it."""
    if rng.random() < 0.4:
        first, last = (" ".join(rng.choices(words, k=rng.choice((1, 2)))) for _ in range(2))
        return rng.choice([
            (None, f"Begin with '{first}': {fact.question}", f"{sentence(first)}! {fact.answer}"),
            (None, f"End with '{last}': {fact.question}", f"{fact.answer} {sentence(last)}!"),
            (None, f"Say '{first}', then answer, then say '{last}': {fact.question}",
             f"{sentence(first)}! {fact.answer} {sentence(last)}: {fact.short}!"),
        ])  # fmt: skip
    manner, pattern = rng.choice(voices())
    if rng.random() < 0.3:
        return f"Answer {manner}.", fact.question, say(pattern, fact)
    return None, f"Answer {manner}: {fact.question}", say(pattern, fact)

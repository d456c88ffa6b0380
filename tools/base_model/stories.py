"""Short stories and talk in simple English: the part of the corpus that is not questions and answers."""

from world import ANIMALS, FOODS, JOBS, TOOLS, a, rows, sentence

NAMES = "Anna Ben Clara David Emma Finn Grace Henry Iris Jack Kate Leo Mia Nora Oscar Paul Rosa Sam Tom Vera".split()
FEMALE = set("Anna Clara Emma Grace Iris Kate Mia Nora Rosa Vera".split())
PLACES = "the forest|the garden|the beach|the market|the river|the hills|the old house|the village|the harbor|the field"
WEATHER = "It was a sunny day.|It was a cold morning.|It rained all day.|The wind was strong.|It was late in the evening."
MOODS = "happy|tired|hungry|curious|brave|a little sad|very quiet"
ENDINGS = (
    "From that day on, they were good friends.|It was the best day of the year.|{They} never forgot that day.|"
    "Then {they} went home and slept well.|And everyone was happy in the end.|That night {they} dreamed of the sea."
)


class Scene:
    """The people and things of one story, drawn once, so that its sentences fit each other."""

    def __init__(self, rng, animal=None):
        self.rng = rng
        self.name, self.friend = rng.sample(NAMES, 2)
        self.they = "she" if self.name in FEMALE else "he"
        self.their = "her" if self.name in FEMALE else "his"
        self.animal, self.kind, self.home, self.food, self.sound, _, _, self.color, _ = animal or rng.choice(rows(ANIMALS))
        self.fruit = rng.choice(rows(FOODS))[0]
        self.job, self.work, self.work_place, self.job_tool = rng.choice(rows(JOBS))
        self.tool, self.use, _ = rng.choice(rows(TOOLS))
        self.place = rng.choice(PLACES.split("|"))
        self.mood = rng.choice(MOODS.split("|"))

    def pick(self, choices):
        """One of the alternatives, with the names of this scene filled in."""
        text = self.rng.choice(choices.split("|"))
        words = {key: value for key, value in vars(self).items() if isinstance(value, str)}
        with_article = {f"a_{key}": a(words[key]) for key in ("animal", "kind", "job", "fruit")}
        first_words = {key: sentence(words[key]) for key in ("they", "their")} | {"a_animal": sentence(a(self.animal))}
        return text.format(**words, **with_article, **{key.capitalize(): value for key, value in first_words.items()})

    def tell(self, *lines):
        return " ".join(self.pick(line) for line in lines)


def meeting(s):
    return s.tell(
        "One day {name} walked to {place}.|{name} went to {place} in the morning.|Once {name} was alone near {place}.",
        WEATHER,
        "There {they} saw {a_animal}.|Near a tree {they} found {a_animal}.|Suddenly {a_animal} came out.",
        "The {animal} was {color} and {mood}.|The {animal} looked {mood}.",
        "{They} gave the {animal} some {food}.|The {animal} wanted {food}, so {they} looked for some.",
        "The {animal} ate and was happy.|The {animal} ate it all.|\"Thank you,\" said the {animal}.",
        ENDINGS,
    )


def lost_thing(s):
    return s.tell(
        "{name} lost {their} {tool}.|{name} could not find {their} {tool}.|The {tool} of {name} was gone.",
        "{They} needed it for {use}.|It was good for {use}.",
        "{They} looked near {place}, but it was not there.|{They} asked {friend} for help.",
        "\"Did you see my {tool}?\" {they} asked {friend}.|\"Where is my {tool}?\" {they} said.",
        "\"The {animal} took it,\" said {friend}.|\"Look under the table,\" said {friend}.|\"I have it here,\" said {friend}.",
        "So {they} found the {tool} again.|Then {they} had {their} {tool} back.",
        ENDINGS,
    )


def working(s):
    return s.tell(
        "{name} was {a_job}.|{friend} had a friend named {name}, who was {a_job}.",
        "{They} worked {work_place} every day.|Every day {they} worked {work_place}.",
        "A good {job} {work}.|Everybody knows that {a_job} {work}.",
        "{They} used {job_tool} for the work.|{Their} best tool was {job_tool}.",
        "In the evening {they} ate {a_fruit} and was {mood}.|After work {they} played with {their} {animal}.",
        ENDINGS,
    )


def at_sea(s):
    return s.tell(
        "A captain sailed the sea with a {color} parrot.|An old pirate lived on a ship.|The captain of the ship was a pirate.",
        "\"Arr, matey!\" said the captain.|\"Arr!\" he said to {name}. \"The sea be wild!\"|\"Arr, mark it in the log!\" he said.",
        "{name} wrote it in the log.|{name} pulled the ropes and {friend} held the sail.|The crew looked for gold.",
        WEATHER,
        "They found an island with {a_fruit} tree.|They saw a whale near the ship.|On the island lived {a_animal}.",
        "\"Arr, gold it be, matey!\" said the pirate.|The log says that the trip was long.|The crew sang all night.",
    )


def describing(s):
    return s.tell(
        "{A_animal} is {a_kind}. It is {color} and lives {home}.|The {animal} is {color}. It lives {home} and eats {food}.",
        "It likes to eat {food}.|Most of the day it looks for {food}.|{name} once saw one near {place}.",
    )


PLOTS = (meeting, meeting, lost_thing, working, at_sea, describing)


def story(rng, animal=None):
    scene = Scene(rng, animal)
    plot = meeting if animal else rng.choice(PLOTS)
    return plot(scene)


def instruction(rng):
    """A request that is not a question, and what to write."""
    animal = rng.choice(rows(ANIMALS))
    name, kind, home, food, _, _, _, color, _ = animal
    kind_rows = [row for row in rows(ANIMALS) if row[1] == kind]
    fruits = [row[0] for row in rows(FOODS) if row[1] == "fruit"]
    describe = sentence(f"{a(name)} is {a(kind)}. It is {color}. It lives {home} and eats {food}.")
    choices = [
        (f"Tell me a story about {a(name)}.", story(rng, animal)),
        (f"Describe {a(name)}.", describe),
        (f"Tell me about {a(name)}.", describe),
        (f"Write a sentence about {a(name)}.", f"The {color} {name} lives {home}."),
        ("Name three fruits.", listing(rng.sample(fruits, 3))),
    ]
    if len(kind_rows) >= 3:
        plural = {"fish": "fish"}.get(kind, kind + "s")
        choices.append((f"Name three {plural}.", listing([row[0] for row in rng.sample(kind_rows, 3)])))
    return rng.choice(choices)


def listing(names):
    return sentence(f"{a(names[0])}, {a(names[1])} and {a(names[2])}.")


SMALL_TALK = [
    ("Hello.", "Hello. How can I help you?"),
    ("Hi!", "Hello. How can I help you?"),
    ("Good morning.", "Good morning. How can I help you?"),
    ("Who are you?", "I am a small language model. I answer simple questions."),
    ("What are you?", "I am a small language model. I answer simple questions."),
    ("What can you do?", "I can answer simple questions and tell short stories."),
    ("Thank you.", "You are welcome."),
    ("Thanks!", "You are welcome."),
    ("Goodbye.", "Goodbye."),
    ("How are you?", "I am fine, thank you."),
]

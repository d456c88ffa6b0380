"""The small closed world that the shipped base model knows: tables of facts, and the questions that can be asked about them.

Everything is written for this project. facts() walks the tables in a fixed order, so corpus and quickstart data are the
same on every machine.
"""

from dataclasses import dataclass
from itertools import combinations

# name | kind | where it lives | what it eats | what it says | legs | its young | color | size rank
ANIMALS = """
cow|mammal|on a farm|grass|moo|4|calf|brown|7
horse|mammal|on a farm|hay|neigh|4|foal|brown|7
sheep|mammal|on a farm|grass|baa|4|lamb|white|5
pig|mammal|on a farm|corn|oink|4|piglet|pink|5
goat|mammal|on a farm|leaves||4|kid|white|5
dog|mammal|in a house|meat|woof|4|puppy|brown|4
cat|mammal|in a house|fish|meow|4|kitten|gray|3
mouse|mammal|in a hole|seeds|squeak|4|pup|gray|2
lion|mammal|on the plains|meat|roar|4|cub|gold|6
tiger|mammal|in the jungle|meat|roar|4|cub|orange|6
bear|mammal|in the forest|berries|growl|4|cub|brown|7
wolf|mammal|in the forest|meat|howl|4|pup|gray|5
fox|mammal|in the forest|rabbits||4|cub|red|3
rabbit|mammal|in a burrow|carrots||4|bunny|white|3
deer|mammal|in the forest|leaves||4|fawn|brown|6
elephant|mammal|on the plains|leaves|toot|4|calf|gray|8
monkey|mammal|in the jungle|bananas|chatter||infant|brown|4
bat|mammal|in a cave|insects|squeak|2|pup|black|2
whale|mammal|in the sea|small fish||0|calf|blue|9
dolphin|mammal|in the sea|fish|click|0|calf|gray|6
camel|mammal|in the desert|dry plants||4|calf|brown|7
hen|bird|on a farm|seeds|cluck|2|chick|brown|3
duck|bird|on a pond|water plants|quack|2|duckling|white|3
owl|bird|in a tree|mice|hoot|2|owlet|brown|3
crow|bird|in a tree|seeds|caw|2|chick|black|3
penguin|bird|on the ice|fish||2|chick|black and white|4
eagle|bird|in the mountains|rabbits|screech|2|eaglet|brown|4
parrot|bird|in the jungle|nuts|squawk|2|chick|green|3
frog|amphibian|in a pond|flies|croak|4|tadpole|green|2
snake|reptile|in the grass|mice|hiss|0|hatchling|green|4
turtle|reptile|on the beach|sea grass||4|hatchling|green|4
crocodile|reptile|in a river|fish||4|hatchling|green|6
shark|fish|in the sea|fish||0|pup|gray|7
salmon|fish|in a river|small fish||0|fry|silver|3
bee|insect|in a hive|nectar|buzz|6|larva|yellow|1
ant|insect|in a nest|crumbs||6|larva|black|1
butterfly|insect|in a garden|nectar||6|caterpillar|blue|1
spider|arachnid|in a web|flies||8|spiderling|black|1
"""

# name | kind | color | taste | where it grows
FOODS = """
banana|fruit|yellow|sweet|on a tree
apple|fruit|red|sweet|on a tree
cherry|fruit|red|sweet|on a tree
lemon|fruit|yellow|sour|on a tree
orange|fruit|orange|sweet|on a tree
lime|fruit|green|sour|on a tree
plum|fruit|purple|sweet|on a tree
pear|fruit|green|sweet|on a tree
peach|fruit|pink|sweet|on a tree
grape|fruit|purple|sweet|on a vine
strawberry|fruit|red|sweet|near the ground
carrot|vegetable|orange|sweet|under the ground
potato|vegetable|brown|plain|under the ground
onion|vegetable|white|strong|under the ground
radish|vegetable|red|hot|under the ground
cabbage|vegetable|green|plain|in a field
pumpkin|vegetable|orange|plain|in a field
pea|vegetable|green|sweet|in a pod
olive|fruit|green|bitter|on a tree
pepper|vegetable|red|hot|on a bush
"""

# name | what one does | where one works | what one uses
JOBS = """
baker|bakes bread|in a bakery|an oven
doctor|helps sick people|in a hospital|medicine
teacher|teaches children|in a school|chalk
farmer|grows food|on a farm|a plow
pilot|flies airplanes|in the sky|a radio
sailor|sails ships|at sea|ropes
fisher|catches fish|on a boat|a net
carpenter|builds with wood|in a workshop|a saw
painter|paints pictures|in a studio|a brush
tailor|sews clothes|in a shop|a needle
cook|makes meals|in a kitchen|a pan
dentist|fixes teeth|in a clinic|a drill
firefighter|puts out fires|in a fire station|a hose
gardener|plants flowers|in a garden|a spade
mechanic|repairs cars|in a garage|a wrench
barber|cuts hair|in a barber shop|a razor
librarian|lends books|in a library|a catalog
astronaut|travels in space|in a rocket|a space suit
blacksmith|shapes iron|in a forge|an anvil
shepherd|watches sheep|in the hills|a staff
miner|digs for coal|in a mine|a pick
judge|decides cases|in a court|a gavel
writer|writes stories|at a desk|a pen
singer|sings songs|on a stage|a microphone
butcher|sells meat|in a butcher shop|a cleaver
mason|builds walls|on a building site|a trowel
"""

# name | what it is used for | where it is kept
TOOLS = """
hammer|driving nails|in the workshop
saw|cutting wood|in the workshop
needle|sewing cloth|in a sewing box
broom|sweeping the floor|in the closet
spoon|eating soup|in a drawer
knife|cutting food|in a drawer
cup|drinking tea|in the kitchen
bed|sleeping|in the bedroom
chair|sitting|at the table
lamp|giving light|on the desk
clock|telling the time|on the wall
key|opening a lock|in a pocket
pen|writing|on the desk
brush|painting|in the studio
ladder|climbing up|in the shed
rope|tying things|in the boat
umbrella|staying dry|near the door
map|finding the way|in a bag
compass|finding north|in a pocket
telescope|looking at stars|on the roof
kettle|boiling water|in the kitchen
oven|baking bread|in the kitchen
shovel|digging holes|in the shed
bucket|carrying water|near the well
soap|washing hands|in the bathroom
towel|drying hands|in the bathroom
mirror|seeing your face|in the hall
thermometer|measuring heat|on the wall
ruler|measuring length|in a school bag
net|catching fish|in the boat
anchor|holding a ship|on the ship
sail|catching the wind|on the ship
candle|lighting a dark room|on a shelf
pillow|resting your head|on the bed
basket|carrying fruit|in the kitchen
whistle|calling a dog|in a pocket
"""

# name | where it travels | wheels
VEHICLES = """
car|on the road|4
bus|on the road|4
bicycle|on the road|2
train|on rails|
ship|on the sea|0
canoe|on the river|0
airplane|through the air|
rocket|through space|
sled|over the snow|0
submarine|under the sea|0
balloon|through the air|0
wagon|on the road|4
tram|on rails|
motorcycle|on the road|2
"""

OPPOSITES = """
hot cold|big small|up down|day night|dark bright|fast slow|old new|happy sad|open closed|full empty|hard soft|wet dry
loud quiet|high low|rich poor|strong weak|early late|near far|left right|inside outside|clean dirty|tall short
thick thin|heavy light|wide narrow|deep shallow|sweet sour|good bad|true false|first last|begin end|give take
push pull|win lose|love hate|buy sell|laugh cry|sharp dull|smooth rough|brave timid|asleep awake|above below
always never|everything nothing|friend enemy|summer winter|north south|east west|young elderly|same different
"""

CAPITALS = """
France Paris|Germany Berlin|Italy Rome|Spain Madrid|Portugal Lisbon|England London|Ireland Dublin|Norway Oslo
Sweden Stockholm|Finland Helsinki|Denmark Copenhagen|Poland Warsaw|Austria Vienna|Greece Athens|Egypt Cairo
Japan Tokyo|China Beijing|Russia Moscow|Turkey Ankara|Canada Ottawa|Cuba Havana|Peru Lima|Chile Santiago
Kenya Nairobi|Hungary Budapest|Belgium Brussels|Iceland Reykjavik|Thailand Bangkok|Scotland Edinburgh|Wales Cardiff
"""

# thing | what it is made from
MATERIALS = """
paper wood|glass sand|bread flour|cheese milk|butter milk|flour wheat|wine grapes|candles wax|bricks clay|sweaters wool
shirts cotton|windows glass|rings gold|coins metal|tires rubber|books paper|tables wood|shoes leather|pots clay|nails iron
sails cloth|chocolate cocoa|honey nectar|jam fruit|silk thread|ice water|yogurt milk|raisins grapes
"""

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()

# topic | question | answer | the answer in short
SINGLE_FACTS = """
sky|What color is the sky on a clear day?|The sky is blue on a clear day.|blue
sky|What color is the sky at night?|The sky is black at night.|black
sky|Where does rain come from?|Rain comes from clouds.|clouds
sky|Where does the sun rise?|The sun rises in the east.|the east
sky|Where does the sun set?|The sun sets in the west.|the west
sky|When do we see the stars?|We see the stars at night.|at night
sky|When do we see the moon?|We see the moon at night.|at night
sky|What gives us light in the day?|The sun gives us light in the day.|the sun
sky|What comes after lightning?|Thunder comes after lightning.|thunder
sky|What falls from the sky in winter?|Snow falls from the sky in winter.|snow
nature|What color is grass?|Grass is green.|green
nature|What color is snow?|Snow is white.|white
nature|What color is coal?|Coal is black.|black
nature|What color is blood?|Blood is red.|red
nature|What is ice?|Ice is frozen water.|frozen water
nature|What is steam?|Steam is hot water in the air.|hot water in the air
nature|What do plants need to grow?|Plants need water and light to grow.|water and light
nature|Where do fish live?|Fish live in water.|water
nature|What do birds lay?|Birds lay eggs.|eggs
nature|What do bees make?|Bees make honey.|honey
nature|What do cows give us?|Cows give us milk.|milk
nature|What do sheep give us?|Sheep give us wool.|wool
nature|What do hens give us?|Hens give us eggs.|eggs
nature|What grows on trees in spring?|Leaves grow on trees in spring.|leaves
nature|When do leaves fall?|Leaves fall in autumn.|autumn
nature|What season is the hottest?|Summer is the hottest season.|summer
nature|What season is the coldest?|Winter is the coldest season.|winter
nature|What season comes after winter?|Spring comes after winter.|spring
nature|What season comes after summer?|Autumn comes after summer.|autumn
nature|How many seasons are in a year?|There are 4 seasons in a year.|4
body|What do we see with?|We see with our eyes.|our eyes
body|What do we hear with?|We hear with our ears.|our ears
body|What do we smell with?|We smell with our nose.|our nose
body|What do we taste with?|We taste with our tongue.|our tongue
body|What do we think with?|We think with our brain.|our brain
body|What do we walk with?|We walk with our legs.|our legs
body|What do we bite with?|We bite with our teeth.|our teeth
body|What pumps blood in the body?|The heart pumps blood in the body.|the heart
body|How many fingers do we have?|We have 10 fingers.|10
body|How many eyes do we have?|We have 2 eyes.|2
body|How many noses do we have?|We have 1 nose.|1
body|How many toes do we have?|We have 10 toes.|10
number|How many days are in a week?|There are 7 days in a week.|7
number|How many months are in a year?|There are 12 months in a year.|12
number|How many hours are in a day?|There are 24 hours in a day.|24
number|How many minutes are in an hour?|There are 60 minutes in an hour.|60
number|How many sides does a triangle have?|A triangle has 3 sides.|3
number|How many sides does a square have?|A square has 4 sides.|4
number|How many sides does a hexagon have?|A hexagon has 6 sides.|6
number|How many sides does a pentagon have?|A pentagon has 5 sides.|5
number|How many items are in a dozen?|There are 12 items in a dozen.|12
number|How many items are in a pair?|There are 2 items in a pair.|2
"""


@dataclass(frozen=True)
class Fact:
    """One question with its plain answer. `short` is the part of the answer that answers; `wording` counts the other ways
    to ask for the same fact, 0 being the first."""

    topic: str
    subject: str
    question: str
    answer: str
    short: str
    wording: int


def rows(table):
    return [tuple(line.split("|")) for line in table.strip().splitlines()]


def pairs(table):
    return [tuple(pair.split(" ", 1)) for line in table.strip().splitlines() for pair in line.split("|")]


def a(noun):
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def sentence(text):
    return text[0].upper() + text[1:]


def ask(topic, subject, short, questions, answer):
    """The same fact under each wording of its question."""
    return [
        Fact(topic, subject, sentence(question), sentence(answer), short, wording)
        for wording, question in enumerate(questions)
    ]


def animal_facts():
    facts = []
    for name, kind, home, food, sound, legs, young, color, _ in rows(ANIMALS):
        one = a(name)
        facts += ask("animal", name, food, [f"What does {one} eat?", f"What is the food of {one}?", f"What do you feed {one}?"],
                     f"{one} eats {food}.")  # fmt: skip
        facts += ask("animal", name, home, [f"Where does {one} live?", f"What is the home of {one}?", f"Where can I find {one}?"],
                     f"{one} lives {home}.")  # fmt: skip
        facts += ask("animal", name, a(kind), [f"What kind of animal is {one}?", f"What is {one}?"], f"{one} is {a(kind)}.")
        facts += ask("animal", name, a(young), [f"What is a young {name} called?", f"What do we call the young of {one}?"],
                     f"A young {name} is called {a(young)}.")  # fmt: skip
        facts += ask("animal", name, color, [f"What color is {one}?", f"Which color does {one} have?"], f"{one} is {color}.")
        if sound:
            facts += ask("animal", name, sound, [f"What does {one} say?", f"What sound does {one} make?"], f"{one} says {sound}.")
        if legs:
            legs = f"{legs if legs != '0' else 'no'} legs"
            facts += ask("animal", name, legs, [f"How many legs does {one} have?", f"Count the legs of {one}."], f"{one} has {legs}.")
        for other in ("mammal", "bird", "fish", "insect", "reptile"):
            answer = f"Yes, {one} is {a(kind)}." if other == kind else f"No, {one} is {a(kind)}."
            facts += ask("yes or no", name, answer.split(",")[0].lower(), [f"Is {one} {a(other)}?"], answer)
    return facts


def size_facts():
    facts = []
    for left, right in combinations(rows(ANIMALS), 2):
        if left[-1] == right[-1]:
            continue
        big, small = (left[0], right[0]) if int(left[-1]) > int(right[-1]) else (right[0], left[0])
        both = f"{a(left[0])} or {a(right[0])}"
        facts += ask("size", big, a(big), [f"Which is bigger, {both}?"], f"{a(big)} is bigger than {a(small)}.")
        facts += ask("size", small, a(small), [f"Which is smaller, {both}?"], f"{a(small)} is smaller than {a(big)}.")
    return facts


def food_facts():
    facts = []
    for name, kind, color, taste, place in rows(FOODS):
        one = a(name)
        facts += ask("food", name, color, [f"What color is {one}?", f"Which color does {one} have?"], f"{one} is {color}.")
        facts += ask("food", name, taste, [f"How does {one} taste?", f"What is the taste of {one}?"], f"{one} tastes {taste}.")
        facts += ask("food", name, a(kind), [f"Is {one} a fruit or a vegetable?", f"What is {one}?"], f"{one} is {a(kind)}.")
        facts += ask("food", name, place, [f"Where does {one} grow?", f"Where can I find {one}?"], f"{one} grows {place}.")
    return facts


def job_facts():
    facts = []
    for name, work, place, tool in rows(JOBS):
        one = a(name)
        facts += ask("job", name, work, [f"What does {one} do?", f"What is the work of {one}?"], f"{one} {work}.")
        facts += ask("job", name, place, [f"Where does {one} work?", f"What is the work place of {one}?"], f"{one} works {place}.")
        facts += ask("job", name, tool, [f"What does {one} use?", f"Which tool does {one} need?"], f"{one} uses {tool}.")
        facts += ask("job", name, one, [f"Who {work}?", f"Which person {work}?"], f"{one} {work}.")
    return facts


def thing_facts():
    facts = []
    for name, use, place in rows(TOOLS):
        one = "soap" if name == "soap" else a(name)
        facts += ask("tool", name, use, [f"What is {one} used for?", f"What do we do with {one}?"], f"{one} is used for {use}.")
        facts += ask("tool", name, place, [f"Where is {one} kept?", f"Where do we keep {one}?"], f"{one} is kept {place}.")
        facts += ask("tool", name, one, [f"What is used for {use}?", f"What do I need for {use}?"], f"{one} is used for {use}.")
    for name, place, wheels in rows(VEHICLES):
        one = a(name)
        facts += ask("travel", name, place, [f"Where does {one} travel?", f"Where do we use {one}?"], f"{one} travels {place}.")
        if wheels:
            wheels = f"{wheels if wheels != '0' else 'no'} wheels"
            facts += ask("travel", name, wheels, [f"How many wheels does {one} have?", f"Count the wheels of {one}."],
                         f"{one} has {wheels}.")  # fmt: skip
    for thing, material in pairs(MATERIALS):
        verb = "are" if thing.endswith("s") and thing != "glass" else "is"
        facts += ask("material", thing, material, [f"What {verb} {thing} made from?", f"What do we need to make {thing}?"],
                     f"{thing} {verb} made from {material}.")  # fmt: skip
    return facts


def word_facts():
    facts = []
    for left, right in pairs(OPPOSITES):
        for word, other in ((left, right), (right, left)):
            facts += ask("word", word, other, [f"What is the opposite of {word}?", f"Give me the opposite of {word}.",
                                               f"Which word means the opposite of {word}?"],
                         f"The opposite of {word} is {other}.")  # fmt: skip
    for country, city in pairs(CAPITALS):
        facts += ask("place", country, city, [f"What is the capital of {country}?", f"Which city is the capital of {country}?"],
                     f"The capital of {country} is {city}.")  # fmt: skip
        facts += ask("place", city, country, [f"Where is {city}?", f"In which country is {city}?"], f"{city} is in {country}.")
    for names, unit in ((DAYS, "day"), (MONTHS, "month")):
        for index, name in enumerate(names):
            after, before = names[(index + 1) % len(names)], names[index - 1]
            facts += ask("time", name, after, [f"Which {unit} comes after {name}?", f"What comes after {name}?"],
                         f"{after} comes after {name}.")  # fmt: skip
            facts += ask("time", name, before, [f"Which {unit} comes before {name}?", f"What comes before {name}?"],
                         f"{before} comes before {name}.")  # fmt: skip
    return facts


def number_facts():
    facts = []
    for left in range(11):
        for right in range(11):
            result = str(left + right)
            facts += ask("sum", f"{left}+{right}", result, [f"What is {left} plus {right}?", f"How much is {left} plus {right}?"],
                         f"{left} plus {right} is {result}.")  # fmt: skip
            if right <= left:
                result = str(left - right)
                facts += ask("sum", f"{left}-{right}", result, [f"What is {left} minus {right}?", f"How much is {left} minus {right}?"],
                             f"{left} minus {right} is {result}.")  # fmt: skip
    return facts


def single_facts():
    return [Fact(topic, question, question, answer, short, 0) for topic, question, answer, short in rows(SINGLE_FACTS)]


def facts():
    """Every question of the world, size comparisons left out (they are many: size_facts())."""
    return animal_facts() + food_facts() + job_facts() + thing_facts() + word_facts() + number_facts() + single_facts()

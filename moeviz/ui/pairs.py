"""Pairs of text sets to contrast, written for this project; one text a line."""

from __future__ import annotations

from dataclasses import dataclass

PARAMETERS = ("pair", "set_a", "set_b")

MOST_TEXTS = 60
"""Texts a set may have: each is a forward pass."""


@dataclass(frozen=True)
class Pair:
    """Two sets of texts, A and B, each text on a line of its own, and what to call them."""

    name_a: str
    name_b: str
    texts_a: str
    texts_b: str


PAIRS: dict[str, Pair] = {
    "French and English": Pair(
        "French",
        "English",
        """Le marché ouvre tôt et les rues sentent déjà le pain chaud.
Ma sœur a planté trois pommiers derrière la maison.
Nous avons attendu le train pendant deux heures sous la pluie.
Le vieux pont est fermé depuis la dernière crue.
Elle lit le journal à voix haute chaque dimanche matin.
Les enfants ont construit un bateau avec des planches et de la corde.
Il manque une page au milieu de ce livre.
Demain, le musée sera gratuit pour tous les habitants.
Le chien du voisin dort toujours devant la même porte.
On entend la mer depuis la fenêtre de la cuisine.
Le professeur a oublié ses lunettes dans la salle.
Après la neige, tout le village est devenu silencieux.""",
        """The market opens early and the streets already smell of warm bread.
My sister has planted three apple trees behind the house.
We waited for the train for two hours in the rain.
The old bridge has been closed since the last flood.
She reads the newspaper aloud every Sunday morning.
The children built a boat out of planks and rope.
There is a page missing in the middle of this book.
Tomorrow the museum will be free for everyone who lives here.
The neighbour's dog always sleeps in front of the same door.
You can hear the sea from the kitchen window.
The teacher has left his glasses in the classroom.
After the snow the whole village fell silent.""",
    ),
    "Polite and rude": Pair(
        "Polite",
        "Rude",
        """Would you be so kind as to pass me the salt, please?
Thank you very much for waiting; I am sorry that I am late.
I would be grateful if you could send me the report tomorrow.
Excuse me, may I ask you a short question?
It was lovely to meet you, and I hope to see you again soon.
Could you please speak a little more slowly for me?
I appreciate your help, and I know how busy you are.
Please take your time; there is no hurry at all.
I am afraid I did not understand; would you mind repeating it?
Thank you for your letter, which I read with great pleasure.
May I offer you a cup of tea while you wait?
I beg your pardon, I believe this seat is mine.""",
        """Give me the salt and stop talking.
You are late again and I am sick of waiting for you.
Send me the report now or do not bother coming back.
Shut up and listen for once in your life.
I never want to see your stupid face again.
Speak properly, you fool, nobody understands a word.
Nobody asked for your help, so get out of my way.
Hurry up, you lazy idiot, we have no time for this.
What nonsense is that? You make no sense at all.
Your letter was rubbish and I threw it away.
Get your own tea, I am not your servant.
Move, this is my seat and you know it.""",
    ),
    "Code and prose": Pair(
        "Code",
        "Prose",
        """for index in range(len(rows)): total += rows[index].price
if not path.exists(): raise FileNotFoundError(path)
def mean(values): return sum(values) / len(values)
names = sorted({row["name"] for row in table})
while queue: node = queue.pop(0); seen.add(node)
const total = items.reduce((sum, item) => sum + item.price, 0);
SELECT name, COUNT(*) FROM orders GROUP BY name ORDER BY 2 DESC;
with open("data.csv", encoding="utf-8") as file: lines = file.readlines()
int main(void) { printf("%d\\n", add(2, 3)); return 0; }
class Point: x: float = 0.0; y: float = 0.0
try { load(url); } catch (error) { console.log(error.message); }
assert result == {"a": 1, "b": [2, 3]}, result""",
        """She counted the boxes one by one and wrote the sum on the wall.
If the door is locked, go round the house and knock at the window.
The average winter here is long, but it is rarely very cold.
He sorted the letters by name and tied them with a blue ribbon.
They walked along the canal until the lamps were lit.
Everything on the table together cost less than a loaf of bread.
Most of the orders came from the small town across the river.
He opened the heavy book and read the first lines aloud.
The main road ends where the fields begin.
The map showed a point that nobody could find again.
When the call failed, she tried once more and then gave up.
In the end all the figures agreed, and everyone went home.""",
    ),
    "Questions and answers": Pair(
        "Questions",
        "Answers",
        """Where did you put the keys to the garden gate?
How long does it take to walk to the station?
Why is the sky red in the evening?
Who wrote the letter that came this morning?
What do you want to eat on your birthday?
When will the next boat leave for the island?
Which of these two roads is the shorter one?
Do you know how to repair a bicycle?
Have they ever been to the mountains in winter?
Is there any milk left in the fridge?
Can we open the window for a while?
How many people live in this house?""",
        """I put the keys to the garden gate on the shelf.
It takes ten minutes to walk to the station.
The sky is red because the light comes a long way through the air.
My uncle wrote the letter that came this morning.
I want to eat pancakes on my birthday.
The next boat leaves for the island at noon.
The road along the river is the shorter one.
I know how to repair a bicycle.
They have been to the mountains in winter twice.
There is some milk left in the fridge.
We can open the window for a while.
Seven people live in this house.""",
    ),
}
"""Name on screen to pair, in the order shown."""


def texts_of(lines: str) -> list[str]:
    """One text for each line that is not blank."""
    return [line.strip() for line in lines.splitlines() if line.strip()]

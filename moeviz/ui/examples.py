"""Short texts to start from, written for this project; one idea, many languages."""

from __future__ import annotations

MIXED = """The old lighthouse keeper counted the ships before he went to sleep.
Le soir, le boulanger ferme sa porte et rentre chez lui à pied.
def area(width, height):
    return width * height
夜里下了一场小雨，早晨的街道很安静。
На кухне пахло хлебом, и чайник тихо шумел на плите."""

EXAMPLES: dict[str, str] = {
    "Mixed": MIXED,
    "English": (
        "On Sunday morning the whole village walked down to the river. The bridge had been closed "
        "since the flood, so the children threw stones from the bank and argued about how deep "
        "the water was. Nobody noticed that the ferry was already on its way across."
    ),
    "Français": (
        "Ma grand-mère gardait ses recettes dans une boîte en fer, derrière les pots de "
        "confiture. Chaque hiver, elle en choisissait une nouvelle et nous demandait de deviner "
        "ce qui manquait. Il manquait toujours quelque chose, et c'était toujours le sel."
    ),
    "Deutsch": (
        "Der Zug hielt mitten auf der Strecke, und niemand wusste warum. Draußen stand ein Hirsch "
        "im hohen Gras und sah den Fenstern entlang, als würde er die Wagen zählen. Nach zehn "
        "Minuten ging es weiter, ohne Durchsage und ohne Erklärung."
    ),
    "Español": (
        "Cuando abrieron la biblioteca nueva, los vecinos llevaron sillas de sus casas porque los "
        "muebles todavía no habían llegado. Leímos de pie, en la escalera y hasta en el patio. Fue "
        "el mejor verano del barrio."
    ),
    "Русский": (
        "Весной река вышла из берегов и унесла старый мост. Люди переправлялись на лодках, а дети "
        "ходили в школу через соседнюю деревню. К осени построили новый мост, и он оказался "
        "короче прежнего."
    ),
    "العربية": (
        "في صباح يوم هادئ فتح البائع دكانه الصغير ووضع الفاكهة أمام الباب. مرّ الأطفال في طريقهم "
        "إلى المدرسة، فأعطى كل واحد منهم تفاحة وابتسم."
    ),
    "हिन्दी": (
        "गाँव के बाहर एक पुराना कुआँ था। बच्चे हर शाम वहाँ जाकर कहानियाँ सुनते थे। एक दिन "
        "बारिश इतनी हुई कि कुएँ का पानी ऊपर तक आ गया।"
    ),
    "中文": (
        "山脚下有一家小茶馆，老板每天清晨都要去泉边打水。客人们说，这里的茶比城里的香，"
        "其实茶叶是一样的，只是水不同。"
    ),
    "日本語": (
        "駅前の小さな本屋は、雨の日になると客が増える。店主は傘立てを入口に並べて、"
        "静かに新しい本を棚へ戻していく。"
    ),
    "Python": (
        "from collections import Counter\n\n\n"
        "def most_common_words(path, limit=10):\n"
        '    """Words of the file, most frequent first."""\n'
        '    with open(path, encoding="utf-8") as file:\n'
        "        words = file.read().lower().split()\n"
        "    counts = Counter(word.strip('.,;') for word in words)\n"
        "    return [word for word, _ in counts.most_common(limit)]\n"
    ),
    "SQL": (
        "SELECT c.name, COUNT(o.id) AS orders, SUM(o.total) AS spent\n"
        "FROM customers AS c\n"
        "LEFT JOIN orders AS o ON o.customer_id = c.id\n"
        "WHERE o.created_at >= '2024-01-01'\n"
        "GROUP BY c.name\n"
        "HAVING SUM(o.total) > 100\n"
        "ORDER BY spent DESC;\n"
    ),
    "JSON": (
        '{\n  "station": "Harbour",\n  "open": true,\n  "boats": [\n'
        '    {"name": "Merle", "berth": 4, "length": 9.5},\n'
        '    {"name": "Old Anna", "berth": 11, "length": 12.0}\n  ],\n  "tide": null\n}'
    ),
    "Maths": (
        "Let n be odd. Then n = 2k + 1 for some integer k, so n² = 4k² + 4k + 1 = 4k(k + 1) + 1. "
        "One of k and k + 1 is even, hence 8 divides 4k(k + 1), and n² leaves remainder 1 when "
        "divided by 8."
    ),
    "Chess": (
        "1. e4 e5 2. Nf3 Nc6 3. Bb5 a6 4. Ba4 Nf6 5. O-O Be7 6. Re1 b5 7. Bb3 d6 8. c3 O-O\n"
        "White keeps the bishop and waits; Black must decide whether to open the centre with d5."
    ),
    "Law": (
        "§ 4 Return of the bicycle. (1) The tenant shall return the bicycle at the end of the "
        "term, clean and in working order. (2) Where the tenant fails to do so, the owner may "
        "claim the cost of repair, unless the damage is due to ordinary wear."
    ),
    "Medicine": (
        "A 54-year-old man came in with a dry cough of three weeks. Temperature 37.8 °C, blood "
        "pressure 135/85 mmHg, oxygen saturation 97 %. The chest was clear on auscultation. He "
        "was advised to rest and to return if he became short of breath."
    ),
    "Poem": (
        "The kettle sings, the window greys,\n"
        "a tram goes by with yellow light;\n"
        "we count the rain, we count the days,\n"
        "and one of us will write tonight."
    ),
    "Chat": (
        "User: My sourdough didn't rise overnight. What went wrong?\n"
        "Assistant: Most likely the kitchen was too cold. Was it below 20 degrees?\n"
        "User: Yes, about 16.\n"
        "Assistant: Then give it four more hours near the oven before you bake."
    ),
    "Log": (
        "2024-03-18 06:02:11 INFO  pump-2 started, pressure 3.1 bar\n"
        "2024-03-18 06:02:45 WARN  pump-2 pressure 4.9 bar above limit 4.5\n"
        "2024-03-18 06:02:46 ERROR pump-2 stopped by valve 17 (code 0x2F)"
    ),
}
"""Name on screen to text, in the order shown."""

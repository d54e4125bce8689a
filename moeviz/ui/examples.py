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
}
"""Name on screen to text, in the order shown."""

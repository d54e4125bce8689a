"""Bad input: numbers, texts and markup that broke programs, and where an address takes them."""

import re
from pathlib import Path

from moeviz.ui import inquiry, links

ROOT = Path(__file__).parent.parent

NUMBERS = ["0", "-1", "1e999", "nan", "inf", "-inf", "9" * 400, "0x1f", "1_000", "１２", "٣", "1.5",
           "2147483648", "18446744073709551616", "-0", "1e-400", "+5", " 7 ", "²"]  # fmt: skip
STRANGE = ["", " ", "\x00", "\ufeff", "\u202e\u2066", "\ud800", "🏳️‍🌈" * 50, "a" * 10_000,
           "../../etc/passwd", "None", "true", "[]", "{}", "%s%n", "<b>x</b>", "'; --", "\r\n",
           "=1+1"]  # fmt: skip

NAMES = sorted(
    {
        name
        for path in (ROOT / "moeviz" / "ui").rglob("*.py")
        for name in re.findall(r'query_params(?:\.get)?[\[(]"(\w+)"', path.read_text())
    }
    | {*links.PARAMETERS, *inquiry.PARAMETERS}
)
"""Every parameter that an address may hold."""

PROOF = "document.documentElement.dataset.broken=1"
"""What a script that ran would have done."""

MARKUP = [
    f"<script>{PROOF}</script>",
    f"<ScRiPt >{PROOF}</ScRiPt>",
    f'"><script>{PROOF}</script>',
    f"'><script>{PROOF}</script>",
    f"</textarea><script>{PROOF}</script>",
    f"</title></style><script>{PROOF}</script>",
    f"<img src=x onerror={PROOF}>",
    f'<img src=x onerror="{PROOF}">',
    f"<svg/onload={PROOF}>",
    f"<svg><script>{PROOF}</script></svg>",
    f"<svg><animate onbegin={PROOF} attributeName=x dur=1s>",
    f"<body onload={PROOF}>",
    f"<iframe srcdoc='<script>parent.{PROOF}</script>'></iframe>",
    f"<iframe src=javascript:parent.{PROOF}></iframe>",
    f"<details open ontoggle={PROOF}>",
    f"<input autofocus onfocus={PROOF}>",
    f"<math><mtext><img src=x onerror={PROOF}></mtext></math>",
    f"<a href=javascript:{PROOF}>link</a>",
    f"[link](javascript:{PROOF})",
    f'![x](x"onerror="{PROOF})',
    f"`<img src=x onerror={PROOF}>`",
    f"<!--><img src=x onerror={PROOF}>-->",
    f"&lt;script&gt;{PROOF}&lt;/script&gt;",
    f"\\x3cscript\\x3e{PROOF}\\x3c/script\\x3e",
    f"${{{PROOF}}}{{{{{PROOF}}}}}",
    "<style>*{display:none!important}</style>",
    "<b>bold</b><h1>large</h1><marquee>moves</marquee>",
    ":red-background[loud] :material/home: $x^2$",
]
"""Scripts and markup as strangers write them into fields."""

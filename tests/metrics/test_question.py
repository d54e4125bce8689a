"""Labels found in questions, and none found where there are none."""

import pytest

from moeviz.metrics.question import labels_asked

KNOWN = {
    "language": ["ar", "code", "de", "en", "es", "it", "zh"],
    "domain": ["c", "go", "law", "poetry", "software_help", "python", "news", "math"],
}


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("which experts fire on German law?", {"language": ["de"], "domain": ["law"]}),
        ("DEUTSCHE Gesetze", {"language": ["de"], "domain": ["law"]}),
        ("español o italiano", {"language": ["es", "it"]}),
        ("Espanol poems", {"language": ["es"], "domain": ["poetry"]}),
        ("who reads software help", {"domain": ["software_help"]}),
        ("العربية", {"language": ["ar"]}),
        ("中文 news", {"language": ["zh"], "domain": ["news"]}),
        ("is it going to go well?", {}),
        ("Go and C code", {"language": ["code"], "domain": ["go", "c"]}),
        ("c++ or c#", {}),
        ("ZH or IT", {"language": ["zh", "it"]}),
        ("", {}),
        ("lawn mowers", {}),
    ],
)
def test_labels_named_in_a_question(question, found):
    assert labels_asked(question, KNOWN) == found

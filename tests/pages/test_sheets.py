"""Every table of a page comes home whole, as CSV and as Parquet."""

import io
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from moeviz.metrics.table import csv_bytes, parquet_bytes

APP = Path(__file__).parent.parent.parent / "app.py"
PLACES = {
    "lab": {},
    "contrast": {},
    "models": {},
    "specialise texts": {"section": "texts"},
    "specialise experts": {"section": "experts"},
    "specialise clusters": {"section": "clusters"},
}


@pytest.mark.parametrize("place", PLACES)
def test_tables_are_saved_as_they_are_shown(place):
    page = AppTest.from_file(APP, default_timeout=120)
    page.switch_page(f"pages/{place.split()[0]}.py")
    for name, value in PLACES[place].items():
        page.query_params[name] = value
    page.run()
    assert not page.exception
    labels = [button.proto.label for button in page.get("download_button")]
    assert len(page.dataframe) == labels.count("Save as CSV") == labels.count("Save as Parquet") > 0
    for frame in (each.value for each in page.dataframe):
        back = pd.read_parquet(io.BytesIO(parquet_bytes(frame)))
        assert back.to_dict("list") == frame.to_dict("list")
        read = pd.read_csv(io.BytesIO(csv_bytes(frame)), keep_default_na=False)
        assert list(read.columns) == list(frame.columns)
        assert len(read) == len(frame)

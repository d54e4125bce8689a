"""The tidy table row by row, and back from its CSV."""

import io

import numpy as np
import pandas as pd
import pytest
from handmade import make_trace

from moeviz.metrics.router import router_probabilities
from moeviz.metrics.table import COLUMNS, routing_csv, routing_parquet, routing_table


def test_every_assignment_is_one_row(tiny_trace):
    table = routing_table(tiny_trace)
    assert list(table) == list(COLUMNS)
    assert len(table) == 2 * 4 * 2
    row = table[(table.layer == 1) & (table.token == 2) & (table.slot == 1)].iloc[0]
    assert (row.text, row.expert, row.next_token_loss) == ("c", 1, 3.0)
    assert row.gate == pytest.approx(0.1)
    assert row.probability == pytest.approx(router_probabilities(tiny_trace, 1)[2, 1])


def test_layers_are_named_as_in_the_model_and_empty_slots_left_out():
    trace = make_trace([[[0, 1], [3, -1], [-1, -1], [1, 0]]], layers=(7,))
    table = routing_table(trace)
    assert table.expert.tolist() == [0, 1, 3, 1, 0]
    assert set(table.layer) == {7}
    assert table.probability.isna().all()
    assert table.next_token_loss.isna().all()


def test_the_csv_gives_back_what_went_in():
    trace = make_trace([[[0, 1]] * 6], text='a,"\nß中')
    back = pd.read_csv(io.BytesIO(routing_csv(trace)), keep_default_na=False)
    assert back[back.slot == 0].text.tolist() == list('a,"\nß中')
    assert (back.gate.to_numpy() == routing_table(trace).gate.to_numpy(np.float64)).all()


def test_the_parquet_file_is_the_table_itself(tiny_trace):
    for trace in (tiny_trace, make_trace([[[0, 1], [3, -1]] * 3], text='a,"\nß中')):
        back = pd.read_parquet(io.BytesIO(routing_parquet(trace)))
        pd.testing.assert_frame_equal(back, routing_table(trace))

# SPDX-License-Identifier: BSD-3-Clause
"""tests/bench/test_results.py: what scripts/bench makes of its results: ratios, verdicts, pictures.

Nothing is measured here: the figures are made up, so the verdicts are known.
"""

import contextlib
import copy
import io
import json
import pathlib
import sys
import tempfile
import types
import unittest
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from bench import check, compare, echo, keep, one_run, plot, shards, svg  # noqa: E402
from bench import tables, workloads  # noqa: E402
from bench.common import kind, spread, without_under  # noqa: E402


def latency(scale=1):
    return {'min': 1000 * scale, 'mean': 2000.0 * scale, 'p50': 2000 * scale, 'p90': 3000 * scale,
            'p99': 5000 * scale, 'p99.9': 40000 * scale, 'p99.99': 90000 * scale,
            'max': 99000 * scale}


def a_run(value, **more):
    return {'trouble': '', 'value': value, 'latency_ns': latency(), 'answers': 1000, 'open': 64,
            'errors': {}, 'server_busy': 0.9, 'client_busy': 0.8, 'server_bytes': 1000000, **more}


def compare_results():
    """As scripts/bench compare saves them, all rows and columns."""
    results, ratios = {}, {}
    for row in workloads.ROWS:
        columns = {c: compare.column_of([a_run(v * (1 + i / 100)) for i in range(5)])
                   for c, v in (('apus', 2e6), ('twin', 1.5e5), ('peer', 1.6e5))}
        for c in ('twin', 'peer'):
            ratios[f'{row.name}/{c}'] = compare.ratio_to(row, columns['apus'], columns[c])
        if row.half:
            columns = {c: v | {'rate': 80000} for c, v in columns.items()}
        results[row.name] = columns
    return {'machine': {'kind': kind(), 'cpu': 'A & B', 'cores': 2, 'kernel': '6', 'commit': 'abc'},
            'command': ['compare'], 'repeat': 5, 'ratios': ratios, 'results': results,
            'versions': {'nginx': 'nginx version: nginx/1.22.1', 'memcached': 'memcached 1.6.18'},
            'idle_bytes': {'apus': 5000, 'twin': 4000, 'peer': 500}}


class Compare(unittest.TestCase):
    def test_ratio_is_of_runs_that_were_neighbours(self):
        row = workloads.row_named('http')
        ours = {'runs': [a_run(100), a_run(300)]}
        theirs = {'runs': [a_run(10), a_run(20)]}
        self.assertEqual(compare.ratio_to(row, ours, theirs),
                         {'median': 12.5, 'min': 10, 'max': 15})

    def test_ratio_of_times_says_how_many_times_less_ours_is(self):
        row = workloads.row_named('http_one')
        ratio = compare.ratio_to(row, {'runs': [a_run(2)]}, {'runs': [a_run(20)]})
        self.assertEqual(ratio['median'], 10)

    def test_server_that_stopped_has_no_figure_and_no_ratio(self):
        row = workloads.row_named('http')
        dead = {'trouble': 'the server stopped, status 1', 'server_bytes': 0}
        column = compare.column_of([dead, dead])
        self.assertNotIn('value', column)
        self.assertEqual(column['trouble'], ['the server stopped, status 1'])
        self.assertIsNone(compare.ratio_to(row, {'runs': [a_run(1)]}, column))

    def test_one_run_that_failed_leaves_the_others(self):
        column = compare.column_of([a_run(5), {'trouble': 'it did not end'}, a_run(7)])
        self.assertEqual(column['value'], {'median': 6, 'min': 5, 'max': 7})
        self.assertEqual(column['trouble'], ['it did not end'])

    def test_refused_connections_are_trouble_when_they_are_many(self):
        self.assertEqual(compare.trouble_of(a_run(1, errors={'refused': 11})), '11 refused')
        self.assertEqual(compare.trouble_of(a_run(1, errors={'refused': 10})), '')
        self.assertEqual(compare.trouble_of(a_run(0, answers=0, errors={'refused': 1})),
                         '1 refused')

    def test_run_that_answered_nothing_is_trouble_but_for_bulk(self):
        self.assertEqual(compare.trouble_of(a_run(0, answers=0)), 'no figure')
        self.assertEqual(compare.trouble_of(a_run(9.5, answers=0)), '')

    def test_server_that_ends_before_the_run_can_be_over_has_stopped(self):
        args = types.SimpleNamespace(warmup=1, seconds=2)
        server, client = one_run.Watch(), one_run.Watch()
        client.cpu = [(100.0, 0.0)]
        self.assertFalse(one_run.stopped_early(server, client, args))
        for server.died_at, client.died_at, early in ((101, 0, True), (101, 102, True),
                                                      (101, 100.5, False), (103.5, 0, False),
                                                      (103.5, 103.6, False)):
            self.assertEqual(one_run.stopped_early(server, client, args), early)

    def test_row_at_half_of_a_rate_brings_the_row_of_that_rate(self):
        self.assertEqual([row.name for row in compare.chosen('^http_half$')],
                         ['http', 'http_half'])
        self.assertEqual(compare.chosen(''), list(workloads.ROWS))

    def test_idle_bytes_are_the_difference_of_two_rows(self):
        results = {'http': {'apus': compare.column_of([a_run(1, server_bytes=1000)])},
                   'http_idle': {'apus': compare.column_of(
                       [a_run(1, server_bytes=1000 + 500 * (workloads.IDLE - 64))])}}
        self.assertEqual(compare.idle_bytes(results), {'apus': 500})

    def test_value_is_in_the_unit_of_the_row(self):
        found = {'per_second': 7, 'seconds': 2, 'bytes_in': 10**9, 'bytes_out': 0,
                 'latency_ns': latency()}
        for name, value in (('http', 7), ('send', 4), ('http_one', 2), ('http_half', 5)):
            self.assertAlmostEqual(one_run.value(workloads.row_named(name), found), value)


class Check(unittest.TestCase):
    def verdicts(self, kept, fresh, partial=False):
        return {name: verdict for name, verdict, _ in check.judge(kept, fresh, partial)}

    def test_counts_within_two_percent_are_the_same(self):
        kept = {'counts': {'a': 1000.0, 'b': 1000.0, 'c': 1000.0, 'd': 1000.0}}
        fresh = {'counts': {'a': 1019.0, 'b': 1021.0, 'c': 981.0, 'd': 979.0}}
        self.assertEqual(self.verdicts(kept, fresh),
                         {'a': 'same', 'b': 'worse', 'c': 'same', 'd': 'better'})

    def test_ratios_differ_only_where_their_intervals_lie_apart(self):
        kept = {'ratios': {n: spread([4, 5, 6]) for n in 'abc'}}
        fresh = {'ratios': {'a': spread([1, 2, 3.9]), 'b': spread([1, 2, 4]),
                            'c': spread([6.1, 7, 8])}}
        self.assertEqual(self.verdicts(kept, fresh), {'a': 'worse', 'b': 'same', 'c': 'better'})

    def test_what_is_measured_no_more_is_worse_unless_part_was_asked_for(self):
        kept = {'counts': {'a': 1.0}, 'ratios': {'b': spread([1])}}
        self.assertEqual(self.verdicts(kept, {}), {'a': 'worse', 'b': 'worse'})
        self.assertEqual(self.verdicts(kept, {}, partial=True), {})

    def test_new_trouble_is_worse_and_known_trouble_is_not(self):
        kept = {'troubles': {'http/peer': 'it did not end'}}
        fresh = {'troubles': {'http/peer': 'it did not end', 'http/apus': 'the server stopped'}}
        self.assertEqual(self.verdicts(kept, fresh), {'http/apus': 'worse'})

    def run_check(self, kept, fresh, names=()):
        with tempfile.TemporaryDirectory() as folder:
            for name, results in (('kept', kept), ('fresh', fresh)):
                path = pathlib.Path(folder) / name
                path.mkdir()
                if results:
                    (path / 'compare.json').write_text(json.dumps(results))
            args = types.SimpleNamespace(names=list(names), kept=pathlib.Path(folder) / 'kept',
                                         given=pathlib.Path(folder) / 'fresh', partial=False)
            said = io.StringIO()
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                with self.assertRaises(SystemExit) as ended:
                    check.run(args)
            return ended.exception.code, said.getvalue()

    def test_exit_status_says_what_was_found(self):
        kept = compare_results()
        self.assertEqual(self.run_check(kept, kept)[0], 0)
        worse = copy.deepcopy(kept)
        worse['ratios']['http/peer'] = {'median': 1, 'min': 0.5, 'max': 2}
        status, said = self.run_check(kept, worse)
        self.assertEqual(status, 1)
        self.assertRegex(said, r'worse +http/peer')
        self.assertEqual(self.run_check({}, kept)[0], 2)
        self.assertEqual(self.run_check(kept, {})[0], 1)

    def test_results_of_another_machine_are_not_compared(self):
        other = compare_results()
        other['machine']['kind'] = 'another'
        self.assertIn('another kind of machine', str(self.run_check(compare_results(), other)[0]))


class Pictures(unittest.TestCase):
    def shapes(self, drawing):
        root = xml.etree.ElementTree.fromstring(str(drawing))
        return root, [e.tag.split('}')[1] for e in root.iter()]

    def test_compare_draws_a_bar_for_each_figure(self):
        root, tags = self.shapes(plot.compare_picture(compare_results()))
        self.assertEqual(tags.count('rect'), 1 + 3 * len(workloads.ROWS))
        words = ' '.join(e.text for e in root.iter() if e.text)
        for row in workloads.ROWS:
            self.assertIn(row.title, words)
        self.assertIn('A & B', words)

    def test_column_without_a_figure_is_said_and_not_drawn(self):
        results = compare_results()
        results['results']['http']['peer'] = {'trouble': ['it did not end']}
        root, tags = self.shapes(plot.compare_picture(results))
        self.assertEqual(tags.count('rect'), 3 * len(workloads.ROWS))
        self.assertIn('no figure: see the results', [e.text for e in root.iter()])

    def test_bars_are_as_long_as_their_figures(self):
        scale = plot.from_zero([{'max': 200}], 100, 300)
        self.assertEqual([scale(0), scale(100), scale(200), scale(999)], [100, 200, 300, 300])
        log = plot.from_one([{'max': 100}], 0, 2)
        self.assertEqual([log(0.5), log(1), log(10), log(100)], [0, 0, 1, 2])

    def test_latency_draws_a_curve_for_each_column(self):
        _, tags = self.shapes(plot.latency_picture(compare_results()))
        self.assertEqual(tags.count('circle'), 3 * 5)

    def test_nothing_leaves_the_picture(self):
        for picture in (plot.compare_picture, plot.latency_picture):
            root, _ = self.shapes(picture(compare_results()))
            width = float(root.get('width'))
            for e in root.iter():
                for name in ('x', 'cx'):
                    self.assertTrue(0 <= float(e.get(name, 0)) <= width, e.attrib)

    def test_numbers_are_said_in_three_digits(self):
        self.assertEqual([svg.number(v) for v in (0, 0.5, 2.623, 152712, 2431000, 999999)],
                         ['0', '0.50', '2.62', '153 k', '2.43 M', '1.00 M'])
        self.assertEqual([tables.figure(v) for v in (2431234, 1532, 153, 12.53, 0.5)],
                         ['2,431,000', '1,532', '153', '12.5', '0.5'])
        self.assertEqual([tables.span(v) for v in (20, 23551, 999600, 5e6)],
                         ['20 ns', '23.6 µs', '1 ms', '5 ms'])


class Readme(unittest.TestCase):
    def test_only_what_stands_between_the_marks_is_renewed(self):
        text = ('a\n<!-- bench compare -->\nold\n<!-- end -->\nb\n'
                '<!-- bench peers -->\nc\n<!-- end -->\n')
        new = tables.renew(text, {'compare': compare_results()}, 'bench/results/x')
        self.assertNotIn('old', new)
        self.assertTrue(new.startswith('a\n<!-- bench compare -->\n'))
        self.assertTrue(new.endswith('<!-- end -->\nb\n<!-- bench peers -->\nc\n<!-- end -->\n'))
        for row in workloads.ROWS:
            self.assertEqual(new.count(f'| {row.title} ({row.unit}) |'), 1)
        self.assertEqual(tables.renew(new, {'compare': compare_results()}, 'bench/results/x'), new)

    def test_every_line_of_the_table_has_as_many_cells(self):
        lines = [x for x in tables.compare_table(compare_results(), '') if x.startswith('|')]
        self.assertEqual({x.count('|') for x in lines}, {7})


    def test_versions_are_the_last_word_that_a_program_says(self):
        self.assertEqual(tables.versions_of({'nginx': 'nginx version: nginx/1.22.1',
                                             'memcached': 'memcached 1.6.18',
                                             'Go': 'Go go1.19.8'}),
                         'nginx 1.22.1, memcached 1.6.18, Go 1.19.8')


class Echo(unittest.TestCase):
    def test_growth_is_of_neighbouring_runs_and_one_is_none(self):
        runs = {'256': [{'ns': 200}, {'ns': 300}],
                '100,000, of which 256 busy': [{'ns': 400}, {'ns': 300}]}
        self.assertEqual(echo.growth(runs), {'256 to 100,000, of which 256 busy':
                                             {'median': 0.75, 'min': 0.5, 'max': 1.0}})

    def test_table_has_a_line_for_each_row_and_every_line_as_many_cells(self):
        found = {'ns': spread([200, 300]), 'per_second': spread([4e6]), 'busy': 0.9,
                 'per_turn': 128.0}
        lines = echo.table({'1': found, '32': found | {'instructions': 2270.0}})
        self.assertEqual(len(lines), 2 + 2)
        self.assertEqual({line.count('|') for line in lines}, {7})
        self.assertIn('| – |', lines[2])
        self.assertIn('| 2,270 |', lines[3])


class Shards(unittest.TestCase):
    def test_row_has_ratios_of_rounds_and_of_the_best_and_every_line_as_many_cells(self):
        with contextlib.redirect_stdout(io.StringIO()):
            found = shards.row('kv/local', [(2.0, 4.0, 4.2), (2.5, 4.5, 4.0)])
        self.assertEqual(found['ratio'], {'median': 1.9, 'min': 1.8, 'max': 2.0})
        self.assertEqual(found['best'], {'ratio': 1.8, 'control': 4.2 / 2.5})
        lines = shards.table({'kv/local': found, 'http': found},
                             {'http': {'1x': 4145.0, '2x': 4142.0}})
        self.assertEqual({line.count('|') for line in lines}, {9})
        self.assertTrue(lines[2].endswith('| – | – |'))
        self.assertTrue(lines[3].endswith('| 4,145 | 4,142 |'))


class Keep(unittest.TestCase):
    def test_what_a_run_was_started_under_is_not_kept(self):
        for words in (['cross', '--under', 'x y', '--part', '8'],
                      ['cross', '--under=x', '--part', '8']):
            self.assertEqual(without_under(words), ['cross', '--part', '8'])
        self.assertEqual(without_under(['peers']), ['peers'])

    def test_single_runs_are_not_kept(self):
        kept = keep.without_runs({'a': {'runs': [1], 'median': 1.23456789}, 'b': [{'runs': 1}]})
        self.assertEqual(kept, {'a': {'median': 1.23457}, 'b': [{}]})


if __name__ == '__main__':
    unittest.main()

from fedanomaly.cli.output import stdout, table


def test_cells_are_shown_as_they_are_and_cannot_steer_the_terminal(capsys):
    stdout().print(table(["shop"], [["shop=[red]x[/red] holds"], ["[/x]"], ["a\x1b[31mb"], [7]]))
    assert [line.strip() for line in capsys.readouterr().out.splitlines()] == [
        "shop",
        "shop=[red]x[/red] holds",
        "[/x]",
        "a?[31mb",
        "7",
    ]

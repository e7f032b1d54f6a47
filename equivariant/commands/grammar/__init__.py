"""How recipes become commands: settings as options, runs that go on, verbs on runs."""

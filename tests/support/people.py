"""A model of people with an age, a name and perhaps a note: its columns, its gate, requests for it."""

from tests.support.gates import column, gate

AGE, NAME = column("long", "age"), column("string", "name")
NOTE = column("string", "note", required=False)
PEOPLE = gate(AGE, NAME, NOTE)
ADA, BOB = {"age": 36, "name": "Ada"}, {"age": 41, "name": "Bob"}
#: Both of them.
FRAME = {"dataframe_split": {"columns": ["age", "name"], "data": [[36, "Ada"], [41, "Bob"]]}}

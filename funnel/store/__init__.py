"""All SQL lives here: one module per family of tables, one function per query.

A function takes an open ``Database`` and values, and returns values. Writing functions belong
inside ``with db.transaction():``. No rule about who gets what is decided here.
"""

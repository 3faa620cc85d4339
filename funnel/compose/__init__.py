"""From a mail's Markdown to the bytes of one MIME message per person.

``source`` reads the clinic's words, ``template`` compiles a mail once per version, ``message``
makes bytes. Does not send, and knows no database.
"""

"""From a mail's Markdown to the bytes of one MIME message per person.

``source`` reads the clinic's words, ``template`` compiles a mail once per version, ``quoted``
encodes it but for what is a person's own, ``message`` makes bytes. Does not send, and knows no database.
"""

-- The database, table by table. Moments are UTC seconds since 1970; words are those of funnel.model.
-- Generated from the migrations by tests/store/test_migrations.py; edit those, not this.

CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
);

CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name");

CREATE TABLE subscriber (
    id           INTEGER PRIMARY KEY,
    email        TEXT,             -- as typed; NULL once erased
    email_key    TEXT UNIQUE,      -- one spelling per person; NULL once erased
    status       TEXT NOT NULL CHECK (status IN
                 ('pending', 'confirmed', 'paused', 'unsubscribed', 'bounced', 'complained', 'erased')),
    name         TEXT NOT NULL DEFAULT '',
    zone         TEXT NOT NULL,
    locale       TEXT NOT NULL,
    source       TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    confirmed_at INTEGER,
    stopped_at   INTEGER,
    paused_until INTEGER
, gap_days INTEGER NOT NULL DEFAULT 0) STRICT;

CREATE INDEX subscriber_pending ON subscriber (created_at) WHERE status = 'pending';

CREATE INDEX subscriber_paused ON subscriber (paused_until) WHERE status = 'paused';

CREATE TABLE tag (
    subscriber_id INTEGER NOT NULL REFERENCES subscriber (id) ON DELETE CASCADE,
    tag           TEXT NOT NULL,
    PRIMARY KEY (subscriber_id, tag)
) STRICT, WITHOUT ROWID;

CREATE TABLE wording (
    hash     TEXT PRIMARY KEY,     -- SHA-256 of the exact words
    words    TEXT NOT NULL,
    first_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE enrollment (
    id            INTEGER PRIMARY KEY,
    subscriber_id INTEGER NOT NULL REFERENCES subscriber (id),
    sequence      TEXT NOT NULL,
    occasion      INTEGER NOT NULL DEFAULT 0,
    anchor_at     INTEGER NOT NULL,
    next_step     TEXT,
    next_at       INTEGER,         -- NULL when nothing more is to come
    last_at       INTEGER,         -- when this way last led to a mail
    ended         TEXT NOT NULL DEFAULT '',
    UNIQUE (subscriber_id, sequence, occasion)
) STRICT;

CREATE INDEX enrollment_due ON enrollment (next_at) WHERE next_at IS NOT NULL;

CREATE TABLE outgoing (            -- the bytes of mail that may have to go again unchanged
    mailing_id INTEGER PRIMARY KEY REFERENCES mailing (id) ON DELETE CASCADE,
    message    BLOB NOT NULL
) STRICT;

CREATE TABLE gift (
    id            INTEGER PRIMARY KEY,
    code          TEXT NOT NULL UNIQUE,
    holder        TEXT NOT NULL UNIQUE,    -- keyed hash of the address: one person, one code, for ever
    subscriber_id INTEGER REFERENCES subscriber (id),
    status        TEXT NOT NULL CHECK (status IN ('issued', 'sent', 'redeemed', 'void', 'expired')),
    issued_at     INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    redeemed_at   INTEGER,
    redeemed_by   TEXT NOT NULL DEFAULT '',
    note          TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE INDEX gift_of_subscriber ON gift (subscriber_id);

CREATE INDEX gift_usable ON gift (expires_at) WHERE status IN ('issued', 'sent');

CREATE TABLE event (               -- append-only
    id            INTEGER PRIMARY KEY,
    source        TEXT NOT NULL,
    event_id      TEXT NOT NULL,
    kind          TEXT NOT NULL,
    at            INTEGER NOT NULL,
    subscriber_id INTEGER REFERENCES subscriber (id),
    mailing_id    INTEGER REFERENCES mailing (id),
    raw           TEXT NOT NULL DEFAULT '',
    UNIQUE (source, event_id)
) STRICT;

CREATE INDEX event_of_subscriber ON event (subscriber_id, kind);

CREATE INDEX event_raw ON event (at) WHERE raw <> '';

CREATE INDEX event_of_mailing ON event (mailing_id) WHERE mailing_id IS NOT NULL;

CREATE TABLE suppression (         -- survives erasure
    hash   TEXT PRIMARY KEY,       -- keyed hash of the address
    reason TEXT NOT NULL,
    at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE run (
    id           INTEGER PRIMARY KEY,
    host         TEXT NOT NULL,
    pid          INTEGER NOT NULL,
    started_at   INTEGER NOT NULL,
    heartbeat_at INTEGER NOT NULL,
    finished_at  INTEGER,
    counts       TEXT NOT NULL DEFAULT '{}',
    note         TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE setting (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE quota (               -- how often something was asked for lately; no address is kept
    key   TEXT PRIMARY KEY,        -- keyed hash of purpose, window and network
    count INTEGER NOT NULL,
    ends  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX quota_ends ON quota (ends);

CREATE TABLE undo (                -- what stood before a person stopped the mails, for half an hour
    subscriber_id INTEGER PRIMARY KEY REFERENCES subscriber (id),
    at            INTEGER NOT NULL,
    before        TEXT NOT NULL    -- JSON
) STRICT;

CREATE INDEX undo_at ON undo (at);

CREATE TABLE "consent" (            -- append-only receipts
    id            INTEGER PRIMARY KEY,
    subscriber_id INTEGER NOT NULL REFERENCES subscriber (id),
    act           TEXT NOT NULL CHECK (act IN
                  ('requested', 'confirmed', 'withdrawn', 'restored', 'kept', 'slower', 'faster', 'guide-only',
                   'series-again', 'paused', 'resumed', 'imported', 'erased')),
    at            INTEGER NOT NULL,
    wording       TEXT REFERENCES wording (hash),
    form          TEXT NOT NULL,
    page          TEXT NOT NULL,
    locale        TEXT NOT NULL,
    ip            TEXT NOT NULL,
    agent         TEXT NOT NULL,
    operator      TEXT NOT NULL,
    detail        TEXT NOT NULL,
    marketing     INTEGER CHECK (marketing IN (0, 1))
) STRICT;

CREATE INDEX consent_of_subscriber ON consent (subscriber_id);

CREATE INDEX consent_ip ON consent (at) WHERE ip <> '' AND ip NOT LIKE '%/%';

CREATE TABLE move (                -- who wants their mails at another address: one row per mail that asks there
    enrollment_id INTEGER PRIMARY KEY REFERENCES enrollment (id),
    subscriber_id INTEGER NOT NULL REFERENCES subscriber (id),
    at            INTEGER NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('open', 'over', 'done'))
) STRICT;

CREATE INDEX move_of_subscriber ON move (subscriber_id);

CREATE INDEX move_at ON move (at);

CREATE TABLE pool (                -- the clinic's own gift codes, given in the order they came in
    id           INTEGER PRIMARY KEY,
    key          TEXT NOT NULL UNIQUE,    -- its letters and digits in capitals: no two codes a desk would confuse
    code         TEXT NOT NULL,           -- as the clinic writes it
    at           INTEGER NOT NULL,
    gift_id      INTEGER UNIQUE REFERENCES gift (id),    -- NULL while nobody has it
    withdrawn_at INTEGER
) STRICT;

CREATE INDEX pool_free ON pool (id) WHERE gift_id IS NULL AND withdrawn_at IS NULL;

CREATE TABLE gift_wait (           -- who confirmed when no code was left, in the order they are served
    id            INTEGER PRIMARY KEY,
    subscriber_id INTEGER NOT NULL UNIQUE REFERENCES subscriber (id),
    at            INTEGER NOT NULL
) STRICT;

CREATE TABLE "mailing" (              -- facts: one row per mail and person, the insert is the lock
    id            INTEGER PRIMARY KEY,
    enrollment_id INTEGER NOT NULL REFERENCES enrollment (id),
    step          TEXT NOT NULL,
    kind          TEXT NOT NULL,
    status        TEXT NOT NULL CHECK (status = 'sent' OR status = 'sending' OR status = 'skipped'
                  OR status = 'deferred' OR status = 'failed' OR status = 'uncertain' OR status = 'held'),
    reason        TEXT NOT NULL DEFAULT '',
    due_at        INTEGER NOT NULL,
    claimed_at    INTEGER NOT NULL,
    first_at      INTEGER NOT NULL,
    finished_at   INTEGER,
    retry_at      INTEGER,
    attempts      INTEGER NOT NULL DEFAULT 0,
    doubts        INTEGER NOT NULL DEFAULT 0,   -- how often its fate was unknown
    run_id        INTEGER,          -- no reference: dropping an empty run must not read this table
    version       TEXT NOT NULL DEFAULT '',
    reply         TEXT NOT NULL DEFAULT '',
    UNIQUE (enrollment_id, step)
) STRICT;

CREATE INDEX mailing_retry ON mailing (retry_at) WHERE status = 'deferred';

CREATE INDEX mailing_open ON mailing (status)
 WHERE (status = 'sending' OR status = 'uncertain' OR status = 'held' OR status = 'deferred');

CREATE TABLE IF NOT EXISTS {s}.meta (name text PRIMARY KEY, value bytea NOT NULL);
CREATE TABLE {s}.instance (
  no int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  run uuid NOT NULL UNIQUE,
  name text NOT NULL,
  node int2,
  speaks int2 NOT NULL,
  beat int8 NOT NULL DEFAULT 1,
  low int8 NOT NULL,
  demand bytea,
  ended int2 NOT NULL DEFAULT 0,
  at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0.01);
CREATE TABLE {s}.node (node int2 PRIMARY KEY, holder int8, reserved int8 NOT NULL DEFAULT 0, numbered int8 NOT NULL DEFAULT 0);
INSERT INTO {s}.node (node) SELECT generate_series(0, 1023);
CREATE TABLE {s}.op (
  seq int8 PRIMARY KEY,
  tag int8 NOT NULL,
  key uuid NOT NULL,
  held bool NOT NULL,
  state int2 NOT NULL,
  owner int8 NOT NULL,
  epoch int8 NOT NULL,
  revision int8 NOT NULL,
  sent int8,
  due int8,
  flagged bool NOT NULL DEFAULT false,
  forget_at int8,
  sweep int8 NOT NULL,
  question int8,
  slot int2,
  record bytea NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.1);
ALTER TABLE {s}.op ALTER COLUMN record SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX op_key ON {s}.op (key) WHERE held;
CREATE INDEX op_freed ON {s}.op (key, seq) WHERE NOT held;
CREATE INDEX op_due ON {s}.op (owner, due) WHERE due IS NOT NULL;
CREATE INDEX op_flagged ON {s}.op (seq) WHERE flagged;
CREATE INDEX op_sweep ON {s}.op (sweep);
CREATE INDEX op_question ON {s}.op (question) WHERE question IS NOT NULL;
CREATE TABLE {s}.request (seq int8 PRIMARY KEY, request bytea NOT NULL) WITH (autovacuum_vacuum_scale_factor = 0.01);
ALTER TABLE {s}.request ALTER COLUMN request SET STORAGE EXTERNAL;
CREATE TABLE {s}.response (slot int2 NOT NULL, seq int8 NOT NULL, response bytea NOT NULL, PRIMARY KEY (slot, seq)) PARTITION BY LIST (slot);
ALTER TABLE {s}.response ALTER COLUMN response SET STORAGE EXTERNAL;
DO $$ BEGIN
  FOR slot IN 0..63 LOOP
    EXECUTE format('CREATE TABLE {s}.response_%s PARTITION OF {s}.response FOR VALUES IN (%s)', slot, slot);
  END LOOP;
END $$;
CREATE TABLE {s}.response_rest PARTITION OF {s}.response FOR VALUES IN (-1);
CREATE TABLE {s}.audit (
  number int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at int8 NOT NULL,
  actor text NOT NULL,
  action text NOT NULL,
  target text NOT NULL,
  seq int8,
  tag int8,
  reason text NOT NULL,
  before text,
  after text,
  result text NOT NULL
);
CREATE INDEX audit_of ON {s}.audit (seq, number) WHERE seq IS NOT NULL;
CREATE TABLE {s}.duty (name text PRIMARY KEY, holder int8);
INSERT INTO {s}.duty (name) VALUES ('sweep'), ('census');

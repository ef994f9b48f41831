package pgstore

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"
)

// schemaVersion is in the comment of the table of sessions.
const schemaVersion = "caddy-session 1"

// Schema returns the statements that make the tables, and fail if one is there that is
// not for sessions, or of another version. A store runs them itself when it is first
// used, if it may and the tables are not there.
//
// Ids compare as bytes, whatever the collation of the database. The version is the
// same 64 bits as in the value, which is encrypted and so not worth compressing: the
// beginning of one that is not compressed can be read without the rest.
func Schema(table string) string {
	base := table[strings.IndexByte(table, '.')+1:]
	return strings.NewReplacer("TABLE_NAME", table, "INDEX_NAME", base, "VERSION", schemaVersion).Replace(`
DO $$ BEGIN
	IF to_regclass('TABLE_NAME') IS NOT NULL AND coalesce(obj_description(to_regclass('TABLE_NAME'), 'pg_class'), '') <> 'VERSION' THEN
		RAISE 'the table TABLE_NAME is somebody else''s, or of another version';
	END IF;
END $$;
CREATE TABLE IF NOT EXISTS TABLE_NAME (
	id      text COLLATE "C" PRIMARY KEY,
	version bigint NOT NULL,
	value   bytea NOT NULL,
	expires timestamptz NOT NULL
);
ALTER TABLE TABLE_NAME ALTER COLUMN value SET STORAGE EXTERNAL;
CREATE INDEX IF NOT EXISTS INDEX_NAME_expires ON TABLE_NAME (expires);
CREATE TABLE IF NOT EXISTS TABLE_NAME_user (
	key      bytea NOT NULL,
	id       text COLLATE "C" NOT NULL,
	deadline timestamptz NOT NULL,
	PRIMARY KEY (key, id)
);
CREATE INDEX IF NOT EXISTS INDEX_NAME_user_deadline ON TABLE_NAME_user (deadline);
COMMENT ON TABLE TABLE_NAME IS 'VERSION';
`)
}

// prepare makes the tables if they are not there. It refuses those of another version.
func prepare(ctx context.Context, conn *pgx.Conn, table string) error {
	version := func(q interface {
		QueryRow(context.Context, string, ...any) pgx.Row
	}) (version *string, there bool, err error) {
		err = q.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL, obj_description(to_regclass($1), 'pg_class')", table).Scan(&there, &version)
		return
	}
	found, there, err := version(conn)
	if err == nil && found == nil { // perhaps somebody is making it: then the comment is seen later
		err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			// IF NOT EXISTS fails if two of them are at it.
			if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", "schema of "+table); err != nil {
				return err
			}
			if found, there, err = version(tx); err != nil || there {
				return err
			}
			_, err := tx.Conn().PgConn().Exec(ctx, Schema(table)).ReadAll() // several statements
			return err
		})
		if err == nil && !there {
			return nil
		}
	}
	switch code, _ := answered(err); {
	case code == codeNoRight:
		return fmt.Errorf("making the table %s: %w; or have its owner run what caddy session schema prints", table, err)
	case err != nil:
		return fmt.Errorf("making the table %s: %w", table, err)
	case found == nil:
		return fmt.Errorf("the table %s is there and has no comment that it is for sessions: it is somebody else's", table)
	case *found != schemaVersion:
		return fmt.Errorf("the table %s is of %q, this needs %q", table, *found, schemaVersion)
	}
	return nil
}

// DefaultRole is whom [Script] gives the rights if the URL names no user.
const DefaultRole = "caddy"

// Script returns [Schema] as one transaction for the owner of the tables, with the
// rights that are enough for the user of the URL. It has no password.
func Script(opts Options) (string, error) {
	cfg, err := opts.resolve()
	if err != nil {
		return "", fmt.Errorf("configuring the postgres store: %w", err)
	}
	role := DefaultRole
	if u, err := url.Parse(opts.URL); err == nil {
		role = cmp.Or(u.User.Username(), u.Query().Get("user"), role)
	}
	role = pgx.Identifier{role}.Sanitize()
	var script strings.Builder
	fmt.Fprintf(&script, "-- The tables of sessions: %s, for PostgreSQL 12 or later.\nBEGIN;\n", schemaVersion)
	schema, _, qualified := strings.Cut(cfg.table, ".")
	if path := cfg.pool.ConnConfig.RuntimeParams["search_path"]; path != "" && !qualified {
		fmt.Fprintf(&script, "SELECT set_config('search_path', '%s', true);\n", strings.ReplaceAll(path, "'", "''"))
		schema, _, _ = strings.Cut(path, ",")
		schema, qualified = strings.Trim(schema, ` "`), true
	}
	script.WriteString(strings.TrimPrefix(Schema(cfg.table), "\n"))
	if qualified {
		fmt.Fprintf(&script, "GRANT USAGE ON SCHEMA %s TO %s;\n", pgx.Identifier{schema}.Sanitize(), role)
	}
	fmt.Fprintf(&script, "GRANT SELECT, INSERT, UPDATE, DELETE ON %s, %[1]s_user TO %s;\nCOMMIT;\n", cfg.table, role)
	return script.String(), nil
}

// statements are those of the store for its tables.
type statements struct {
	get, getPrefix, exists, touch, deleteVersion, deleteAny, mark string
	put, putIndexed                                               struct{ create, update string }
	lock, deleteMany, unindex, indexed, list                      string
	sweepLock, sweep, sweepIndex                                  string
}

// statementsFor fills in the names. The parameters are those of the methods: the id,
// the version expected, the new version, the value, the TTL.
func statementsFor(table string) statements {
	f := strings.NewReplacer(
		"TABLE_NAME", table,
		"LIVE", "expires > clock_timestamp()",
		"IN_MICROSECONDS", "clock_timestamp() + interval '1 microsecond' *",
	).Replace
	s := statements{
		get:           f(`SELECT value, ceil(extract(epoch FROM expires - clock_timestamp()) * 1000000)::bigint FROM TABLE_NAME WHERE id = $1 AND LIVE`),
		getPrefix:     f(`SELECT substr(value, 1, $2), ceil(extract(epoch FROM expires - clock_timestamp()) * 1000000)::bigint FROM TABLE_NAME WHERE id = $1 AND LIVE`),
		exists:        f(`SELECT EXISTS (SELECT FROM TABLE_NAME WHERE id = $1 AND LIVE)`),
		touch:         f(`UPDATE TABLE_NAME SET expires = IN_MICROSECONDS $3::bigint WHERE id = $1 AND version = $2 AND version <> 0 AND LIVE`),
		deleteVersion: f(`DELETE FROM TABLE_NAME WHERE id = $1 AND version = $2 AND LIVE`),
		deleteAny:     f(`DELETE FROM TABLE_NAME WHERE id = $1`),
		mark:          `SELECT pg_logical_emit_message(true, 'caddy-session', '')`,

		// The rows are locked in one order by all.
		lock:       f(`SELECT FROM TABLE_NAME WHERE id = ANY($1) ORDER BY id FOR UPDATE`),
		deleteMany: f(`DELETE FROM TABLE_NAME WHERE id = ANY($1)`),
		unindex:    f(`DELETE FROM TABLE_NAME_user WHERE key = $1 AND id = ANY($2)`),
		indexed: f(`SELECT u.id, substr(s.value, 1, $4) FROM TABLE_NAME_user u LEFT JOIN TABLE_NAME s ON s.id = u.id AND s.LIVE
			WHERE u.key = $1 AND u.id > $2 ORDER BY u.id LIMIT $3`),
		list: f(`SELECT id FROM TABLE_NAME WHERE id > $1 AND LIVE ORDER BY id LIMIT $2`),

		sweepLock: `SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))`,
		sweep: f(`DELETE FROM TABLE_NAME WHERE expires <= now() AND id IN
			(SELECT id FROM TABLE_NAME WHERE expires <= now() ORDER BY expires LIMIT $1 FOR UPDATE SKIP LOCKED)`),
		sweepIndex: f(`DELETE FROM TABLE_NAME_user WHERE deadline <= now() AND (key, id) IN
			(SELECT key, id FROM TABLE_NAME_user WHERE deadline <= now() ORDER BY deadline LIMIT $1 FOR UPDATE SKIP LOCKED)`),
	}
	s.put.create = f(`INSERT INTO TABLE_NAME AS s (id, version, value, expires) VALUES ($1, $2, $3, IN_MICROSECONDS $4::bigint)
		ON CONFLICT (id) DO UPDATE SET version = excluded.version, value = excluded.value, expires = excluded.expires
		WHERE s.expires <= clock_timestamp()`)
	s.put.update = f(`UPDATE TABLE_NAME SET version = $3, value = $4, expires = IN_MICROSECONDS $5::bigint WHERE id = $1 AND version = $2 AND LIVE`)
	// A place in the index is never forgotten before its session can expire.
	index := f(` RETURNING id, expires) INSERT INTO TABLE_NAME_user AS u (key, id, deadline)
		SELECT KEY_PARAMETER, id, greatest(DEADLINE_PARAMETER, expires) FROM put
		ON CONFLICT (key, id) DO UPDATE SET deadline = greatest(u.deadline, excluded.deadline)`)
	s.putIndexed.create = "WITH put AS (" + s.put.create + strings.NewReplacer("KEY_PARAMETER", "$5::bytea", "DEADLINE_PARAMETER", "$6::timestamptz").Replace(index)
	s.putIndexed.update = "WITH put AS (" + s.put.update + strings.NewReplacer("KEY_PARAMETER", "$6::bytea", "DEADLINE_PARAMETER", "$7::timestamptz").Replace(index)
	return s
}

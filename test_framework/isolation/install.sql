-- What a worker's database needs so that one call can empty it: every table raises a flag when a statement writes to it.
-- Flags are sequences, because nextval() neither waits for anybody nor is undone by a rollback. All of it lives in a schema of
-- its own, where migrations and models never look.
CREATE SCHEMA test_isolation;

CREATE SEQUENCE test_isolation.ddl;

CREATE TABLE test_isolation.tables (relation regclass, flag regclass, seeded boolean);

CREATE TABLE test_isolation.counters (counter regclass, value bigint, called boolean);

CREATE FUNCTION test_isolation.raise_flag() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM nextval(TG_ARGV[0]::oid::regclass);
    RETURN NULL;
END $$;

-- The schema as lines of text, so that two of them can be compared and the difference be read.
CREATE FUNCTION test_isolation.schema_lines() RETURNS SETOF text LANGUAGE sql STABLE AS $$
    WITH ours AS (
        SELECT oid, nspname FROM pg_namespace
        WHERE nspname NOT LIKE 'pg\_%' AND nspname NOT IN ('information_schema', 'test_isolation')
    ), relations AS (
        SELECT c.*, c.oid::regclass::text AS name FROM pg_class c JOIN ours ON ours.oid = c.relnamespace
        WHERE c.relpersistence <> 't'
    )
    SELECT 'schema ' || nspname FROM ours
    UNION ALL SELECT 'extension ' || extname || ' ' || extversion FROM pg_extension
    UNION ALL SELECT CASE relkind WHEN 'v' THEN 'view ' || name || ' ' || pg_get_viewdef(oid)
                                  WHEN 'm' THEN 'materialized view ' || name || ' ' || pg_get_viewdef(oid)
                                  WHEN 'S' THEN 'sequence ' || name
                                  WHEN 'c' THEN 'type ' || name
                                  WHEN 'i' THEN pg_get_indexdef(oid)
                                  WHEN 'I' THEN pg_get_indexdef(oid)
                                  ELSE 'table ' || name || coalesce(' ' || array_to_string(reloptions, ' '), '')
                                       || CASE WHEN relrowsecurity THEN ' row security' ELSE '' END END
              FROM relations
    UNION ALL SELECT 'column ' || r.name || '.' || attname || ' ' || format_type(atttypid, atttypmod)
                     || CASE WHEN attnotnull THEN ' not null' ELSE '' END
                     || coalesce(' default ' || pg_get_expr(adbin, adrelid), '')
              FROM relations r JOIN pg_attribute a ON attrelid = r.oid AND attnum > 0 AND NOT attisdropped
              LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
              WHERE relkind IN ('r', 'p', 'f', 'c')
    UNION ALL SELECT 'constraint ' || r.name || '.' || conname || ' ' || pg_get_constraintdef(k.oid)
              FROM relations r JOIN pg_constraint k ON conrelid = r.oid
    UNION ALL SELECT pg_get_triggerdef(t.oid) || ' ' || tgenabled::text
              FROM relations r JOIN pg_trigger t ON tgrelid = r.oid WHERE NOT tgisinternal AND tgname <> 'test_isolation'
    UNION ALL SELECT 'policy ' || r.name || '.' || polname FROM relations r JOIN pg_policy ON polrelid = r.oid
    UNION ALL SELECT 'function ' || p.oid::regprocedure::text || ' ' || md5(prosrc)
              FROM pg_proc p JOIN ours ON ours.oid = pronamespace
    UNION ALL SELECT 'type ' || t.oid::regtype::text || ' '
                     || (SELECT string_agg(enumlabel, ', ' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid)
              FROM pg_type t JOIN ours ON ours.oid = typnamespace WHERE typtype = 'e'
    UNION ALL SELECT 'domain ' || t.oid::regtype::text || ' ' || format_type(typbasetype, typtypmod)
              FROM pg_type t JOIN ours ON ours.oid = typnamespace WHERE typtype = 'd'
    UNION ALL SELECT 'setting of the database ' || unnest(setconfig) FROM pg_db_role_setting
              WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
$$;

-- Everything that a test did to this database, undone. What the answer names as `tables` was emptied; `schema` is what is
-- different there now, and `seeded` are tables that came with rows of their own: both need the database made anew.
CREATE FUNCTION test_isolation.reset(OUT tables text[], OUT seeded text[], OUT schema text[]) LANGUAGE plpgsql AS $$
DECLARE
    written regclass[];
    flags regclass[];
BEGIN
    IF pg_sequence_last_value('test_isolation.ddl') IS NOT NULL OR EXISTS (
        SELECT FROM pg_db_role_setting
        WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
    ) THEN
        PERFORM setval('test_isolation.ddl', 1, false);
        SELECT array_agg(line ORDER BY substr(line, 3)) INTO schema FROM (
            (SELECT '+ ' || line FROM test_isolation.schema_lines() line EXCEPT SELECT '+ ' || line FROM test_isolation.lines)
            UNION ALL
            (SELECT '- ' || line FROM test_isolation.lines EXCEPT SELECT '- ' || line FROM test_isolation.schema_lines() line)
        ) changes(line);
        IF schema IS NOT NULL THEN
            RETURN;
        END IF;
    END IF;

    SELECT array_agg(relation), array_agg(flag), array_agg(relation::text) FILTER (WHERE w.seeded)
    INTO written, flags, seeded
    FROM test_isolation.tables w WHERE pg_sequence_last_value(flag) IS NOT NULL;

    IF written IS NOT NULL AND seeded IS NULL THEN
        -- a transaction that is still open on them would write behind our back: wait for it no longer than lock_timeout
        EXECUTE 'LOCK TABLE ' || array_to_string(written, ', ') || ' IN ACCESS EXCLUSIVE MODE';
        -- one statement, since foreign keys between them are looked at when it ends
        EXECUTE 'WITH ' || (SELECT string_agg('e' || n || ' AS (DELETE FROM ' || relation || ')', ', ')
                            FROM unnest(written) WITH ORDINALITY AS each(relation, n)) || ' SELECT';
        PERFORM setval(flag, 1, false) FROM unnest(flags) flag;
        tables := written::text[];
    END IF;

    PERFORM setval(counter, value, called) FROM test_isolation.counters
    WHERE pg_sequence_last_value(counter) IS DISTINCT FROM CASE WHEN called THEN value END;
END $$;

-- Install the flags, and remember how everything is now.
DO $$
DECLARE
    relation regclass;
    flag text;
    occupied boolean;
BEGIN
    CREATE TABLE test_isolation.lines AS SELECT line FROM test_isolation.schema_lines() line;
    INSERT INTO test_isolation.counters
        SELECT c.oid, coalesce(pg_sequence_last_value(c.oid), seqstart), pg_sequence_last_value(c.oid) IS NOT NULL
        FROM pg_class c JOIN pg_sequence s ON s.seqrelid = c.oid WHERE c.relnamespace <> 'test_isolation'::regnamespace;
    FOR relation IN
        SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND nspname NOT LIKE 'pg\_%' AND nspname NOT IN ('information_schema', 'test_isolation')
    LOOP
        flag := 'test_isolation.written_' || relation::oid;
        EXECUTE 'CREATE SEQUENCE ' || flag;
        EXECUTE 'SELECT EXISTS (SELECT FROM ' || relation || ')' INTO occupied;
        INSERT INTO test_isolation.tables VALUES (relation, flag::regclass, occupied);
        EXECUTE 'CREATE TRIGGER test_isolation BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON ' || relation
            || ' FOR EACH STATEMENT EXECUTE FUNCTION test_isolation.raise_flag(' || flag::regclass::oid || ')';
        EXECUTE 'ALTER TABLE ' || relation || ' ENABLE ALWAYS TRIGGER test_isolation';
    END LOOP;
END $$;

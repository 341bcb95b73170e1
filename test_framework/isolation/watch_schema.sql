-- Only a superuser may watch for changes of the schema; without this the schema is compared after every test, which takes longer.
CREATE FUNCTION test_isolation.note_change() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM nextval('test_isolation.ddl');
END $$;
CREATE EVENT TRIGGER test_isolation_changes ON ddl_command_end EXECUTE FUNCTION test_isolation.note_change();
CREATE EVENT TRIGGER test_isolation_drops ON sql_drop EXECUTE FUNCTION test_isolation.note_change();

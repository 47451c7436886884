-- What the tests have left outside the database.
CALL test.clean();

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Types;
import java.util.Arrays;

/** An application with the JDBC driver: a tenant for each transaction, encrypted values as parameters. */
class WithJdbc {
    /** Every parameter is one text, or NULL. */
    static PreparedStatement with(Connection connection, String statement, String... parameters) throws SQLException {
        PreparedStatement prepared = connection.prepareStatement(statement);
        for (int at = 0; at < parameters.length; at++) {
            if (parameters[at] == null) {
                prepared.setNull(at + 1, Types.VARCHAR);
            } else {
                prepared.setString(at + 1, parameters[at]);
            }
        }
        return prepared;
    }

    static String value(PreparedStatement statement) throws SQLException {
        try (ResultSet rows = statement.executeQuery()) {
            return rows.next() ? rows.getString(1) : "no row";
        }
    }

    static String value(Connection connection, String statement, String... parameters) throws SQLException {
        try (PreparedStatement prepared = with(connection, statement, parameters)) {
            return value(prepared);
        }
    }

    static void same(String found, String expected) {
        if (!expected.equals(found)) {
            throw new AssertionError("found " + found + " instead of " + expected);
        }
    }

    static void refused(String state, PreparedStatement statement) {
        try (statement) {
            statement.execute();
        } catch (SQLException error) {
            same(error.getSQLState(), state);
            return;
        }
        throw new AssertionError("accepted: " + statement);
    }

    static void tenants(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        String orders = "SELECT count(*) || ' ' || coalesce(min(tenant_id), '') || coalesce(max(tenant_id), '') FROM orders";
        // From the fifth execution on the driver's statements are prepared in the server.
        try (PreparedStatement set = connection.prepareStatement("SELECT ward.set_tenant_context(?)");
                PreparedStatement count = connection.prepareStatement(orders)) {
            for (int number = 0; number < 20; number++) {
                String tenant = "t" + number % 10;
                set.setString(1, tenant);
                set.execute();
                same(value(count), "20 " + tenant + tenant);
                connection.commit();
                same(value(count), "0 ");
                connection.rollback();
            }
            set.setString(1, "t1");
            set.execute();
            // The driver puts a savepoint before the statement and goes back to it.
            refused("42501", with(connection, "SELECT ward.set_tenant_context(?)", "t2"));
            same(value(count), "20 t1t1");
            connection.rollback();
        }
        connection.setAutoCommit(true);
        same(value(connection, orders), "0 ");
    }

    static void columns(Connection connection, String all) throws SQLException {
        connection.createStatement().execute("TRUNCATE person");
        try (PreparedStatement insert = connection.prepareStatement("INSERT INTO person VALUES (?, ?, ?)")) {
            for (int id = 1; id <= 100; id++) {
                insert.setInt(1, id);
                insert.setString(2, "p" + id + "@x.y");
                insert.setObject(3, id % 2 == 0 ? null : "Grüße 🗝", Types.VARCHAR);
                insert.addBatch();
            }
            same("" + Arrays.stream(insert.executeBatch()).allMatch(rows -> rows != 0), "true");
        }
        same(value(connection, all), "100 50");
        try (PreparedStatement find = connection.prepareStatement("SELECT id FROM person WHERE mail = ?")) {
            for (int id = 1; id <= 20; id++) {
                find.setString(1, "p" + id + "@x.y");
                same(value(find), "" + id);
            }
            find.setString(1, "nobody");
            same(value(find), "no row");
        }
        same(value(connection, "SELECT note::text FROM person WHERE mail = ?", "p7@x.y"), "Grüße 🗝");
        same(value(connection, "SELECT count(*) FROM person WHERE mail = ANY (?::text[])", "{p1@x.y,p2@x.y,p0}"), "2");
        String taken = "INSERT INTO person VALUES (101, ?, NULL) ON CONFLICT (mail) DO UPDATE SET note = ? RETURNING id";
        same(value(connection, taken, "p9@x.y", "again"), "9");
        refused("23505", with(connection, "UPDATE person SET mail = ? WHERE id = 3", "p4@x.y"));

        // What is shown is ciphertext, also in binary format; and as a parameter it is text like any other.
        for (int round = 0; round < 8; round++) {
            String shown = value(connection, "SELECT mail FROM person WHERE id = 5");
            same("" + shown.contains("p5@x.y"), "false");
        }
        String shown = value(connection, "SELECT format('%s', mail) FROM person WHERE id = 5");
        same(shown.substring(0, 15), "ward:encrypted:");
        same(value(connection, "INSERT INTO person VALUES (102, ?) RETURNING mail::text = ?", shown, shown), "t");
        connection.createStatement().execute("SET ward.reveal = on");
        same(value(connection, "SELECT mail FROM person WHERE id = 5"), "p5@x.y");
        connection.createStatement().execute("RESET ward.reveal");
    }

    static void fields(Connection connection) throws SQLException {
        for (int round = 0; round < 8; round++) {
            try (PreparedStatement seal = with(connection, "SELECT ward.encrypt(?, 'notes', ?)", "grüße", "row 1");
                    PreparedStatement open = connection.prepareStatement("SELECT ward.decrypt(?, ?)");
                    ResultSet rows = seal.executeQuery()) {
                rows.next();
                open.setBytes(1, rows.getBytes(1));
                open.setString(2, "row 1");
                same(value(open), "grüße");
            }
        }
    }

    public static void main(String[] arguments) throws SQLException {
        String url = "jdbc:postgresql://127.0.0.1:" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE")
                + "?user=" + System.getenv("PGUSER") + "&sslmode=disable&gssEncMode=disable&autosave=always";
        String all = "SELECT count(*) FILTER (WHERE mail::text = 'p' || id || '@x.y') || ' ' || count(note) FROM person";
        // The ways a driver may send a parameter: as varchar, or of no type; one by one, or many rows in a statement.
        for (String way : new String[] {"", "&stringtype=unspecified", "&reWriteBatchedInserts=true", "&preferQueryMode=simple"}) {
            try (Connection connection = DriverManager.getConnection(url + way)) {
                columns(connection, all);
                if (!way.contains("unspecified")) {
                    tenants(connection);
                }
                // Functions need typed parameters, and the simple protocol has no bytes.
                if (way.isEmpty()) {
                    fields(connection);
                }
            }
        }
        System.out.println("done");
    }
}

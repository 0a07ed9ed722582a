"""An application with psycopg 3: one tenant per transaction, encrypted values as parameters."""

import psycopg


def count(connection):
    return connection.execute("SELECT count(*) FROM orders").fetchone()[0]


def main():
    with psycopg.connect(autocommit=True) as connection:
        connection.prepare_threshold = 1  # prepared statements from the second execution on

        for number in range(20):
            tenant = f"t{number % 10}"
            with connection.transaction():
                connection.execute("SELECT ward.set_tenant_context(%s::text)", [tenant])
                rows = connection.execute(
                    "SELECT DISTINCT tenant_id FROM orders WHERE id > %s", [0]
                ).fetchall()
                assert rows == [(tenant,)], rows
        assert count(connection) == 0

        # a nested transaction that fails leaves the tenant as it was
        with connection.transaction():
            connection.execute("SELECT ward.set_tenant_context('t1'::text)")
            try:
                with connection.transaction():
                    connection.execute("SELECT ward.set_tenant_context('t2'::text)")
                raise AssertionError("a second tenant was accepted")
            except psycopg.errors.InsufficientPrivilege as error:
                assert error.diag.message_hint
            assert count(connection) == 20

        # a pipeline without BEGIN: what lies between two syncs is one transaction with one tenant
        tenants = "SELECT count(*), min(tenant_id), max(tenant_id) FROM orders"
        with connection.pipeline() as pipeline:
            answers = []
            for tenant in ("t5", "t6", "t7"):
                connection.execute("SELECT ward.set_tenant_context(%s::text)", [tenant])
                answers.append(connection.execute(tenants))
                pipeline.sync()
                answers.append(connection.execute(tenants))
                pipeline.sync()
            seen = [answer.fetchone() for answer in answers]
        nobody = (0, None, None)
        expected = [(20, "t5", "t5"), nobody, (20, "t6", "t6"), nobody, (20, "t7", "t7"), nobody]
        assert seen == expected, seen
        try:
            with connection.pipeline():
                connection.execute("SELECT ward.set_tenant_context('t5'::text)")
                connection.execute("SELECT ward.set_tenant_context('t6'::text)")
                stolen = connection.execute(tenants).fetchone()
                raise AssertionError(f"rows after the refusal: {stolen}")
        except psycopg.errors.InsufficientPrivilege:
            pass
        assert count(connection) == 0

        # many rows at once; COPY FROM is PostgreSQL's own refusal under row level security
        with connection.transaction():
            connection.execute("SELECT ward.set_tenant_context('t3'::text)")
            with connection.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO orders VALUES (%s, %s, %s)",
                    [("t3", 100, "batch"), ("t3", 101, "batch")],
                )
        try:
            with connection.transaction():
                connection.execute("SELECT ward.set_tenant_context('t3'::text)")
                with connection.cursor() as cursor:
                    cursor.executemany(
                        "INSERT INTO orders VALUES (%s, %s, %s)",
                        [("t3", 102, "batch"), ("t4", 103, "batch")],
                    )
            raise AssertionError("a row of another tenant was stored")
        except psycopg.errors.InsufficientPrivilege:
            pass
        try:
            with connection.cursor() as cursor, cursor.copy("COPY orders FROM STDIN"):
                raise AssertionError("COPY FROM was accepted")
        except psycopg.errors.FeatureNotSupported:
            pass

        # COPY TO shows what SELECT shows
        with connection.transaction():
            connection.execute("SELECT ward.set_tenant_context('t4'::text)")
            with connection.cursor() as cursor:
                with cursor.copy("COPY orders (tenant_id) TO STDOUT") as copy:
                    assert {row[0] for row in copy.rows()} == {"t4"}

        for binary in (False, True):
            with connection.cursor(binary=binary) as cursor:
                sealed = cursor.execute(
                    "SELECT ward.encrypt(%s::text, 'notes', %s)", ["grüße", "row 1"]
                ).fetchone()[0]
                opened = cursor.execute(
                    "SELECT ward.decrypt(%b, %s)", [sealed, "row 1"]
                ).fetchone()[0]
                assert opened == "grüße", opened
    print("done")


main()

"""An application with SQLAlchemy: the tenant is set whenever a transaction begins."""

import sqlalchemy
from sqlalchemy import Column, Integer, Text, event, exc, func, select
from sqlalchemy.orm import Session, declarative_base

Base = declarative_base()


class Order(Base):
    __tablename__ = "orders"
    tenant_id = Column(Text, primary_key=True)
    id = Column(Integer, primary_key=True)
    note = Column(Text)


class TenantSession(Session):
    """A session of one tenant. Each of its transactions says so first."""

    def __init__(self, engine, tenant):
        super().__init__(engine)
        self.info["tenant"] = tenant


@event.listens_for(TenantSession, "after_begin")
def set_tenant(session, transaction, connection):
    connection.execute(select(func.ward.set_tenant_context(
        sqlalchemy.cast(session.info["tenant"], Text))))


def main():
    # one connection, so that every session gets the one that others used before
    engine = sqlalchemy.create_engine("postgresql+psycopg2://", pool_size=1, max_overflow=0)

    for number in range(20):
        tenant = f"t{number % 10}"
        with TenantSession(engine, tenant) as session:
            orders = session.scalars(select(Order).where(Order.note.is_(None))).all()
            assert len(orders) == 20, len(orders)
            assert {order.tenant_id for order in orders} == {tenant}
            session.add(Order(tenant_id=tenant, id=1000 + number, note="new"))
            if number % 2:
                session.commit()
            # otherwise the session rolls back when it is closed

    with TenantSession(engine, "t1") as session:
        session.add(Order(tenant_id="t2", id=2000, note="foreign"))
        try:
            session.commit()
            raise AssertionError("a row of another tenant was stored")
        except exc.ProgrammingError:
            session.rollback()

    with Session(engine) as session:
        assert session.scalar(select(func.count()).select_from(Order)) == 0
        # a bulk update reaches only the rows of the tenant
    with TenantSession(engine, "t5") as session:
        changed = session.query(Order).update({Order.note: "all"})
        mine = session.scalar(select(func.count()).select_from(Order))
        assert changed == mine, (changed, mine)
        session.commit()
    with TenantSession(engine, "t6") as session:
        assert not session.scalars(select(Order).where(Order.note == "all")).all()
    print("done")


main()

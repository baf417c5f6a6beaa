"""What stands on the shelves, and what was bought."""

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """The tables of the shop."""


class Product(Base):
    """Something that the shop sells."""

    __tablename__ = "product"
    __table_args__ = (CheckConstraint("in_stock >= 0"),)

    sku: Mapped[str] = mapped_column(primary_key=True)
    price_cents: Mapped[int]
    in_stock: Mapped[int]


class Order(Base):
    """One product, some of it."""

    __tablename__ = "purchase"

    id: Mapped[int] = mapped_column(primary_key=True)
    sku: Mapped[str] = mapped_column(ForeignKey(Product.sku))
    quantity: Mapped[int]
    total_cents: Mapped[int]
    status: Mapped[str] = mapped_column(default="placed")

    product: Mapped[Product] = relationship()

    def as_dict(self) -> dict[str, object]:
        """Return what customers may see."""
        return {
            "id": self.id,
            "sku": self.sku,
            "quantity": self.quantity,
            "total_cents": self.total_cents,
            "status": self.status,
        }

"""What varies in the records: people, goods, ids, agents, all drawn from one seeded generator."""

import random
from typing import Final


def words(text: str) -> tuple[str, ...]:
    """Return the words of a text; an underscore stands for a blank in one."""
    return tuple(word.replace("_", " ") for word in text.split())


_FIRST: Final = words(
    """
    Zoë Łukasz Jürgen Aïcha Björn Søren Chloé Ngọc Étienne María Siobhán Yusuf 美咲 伟 Дмитрий
    Ελένη अनन्या 지우 Anna Ben Clara David Emma Felix Greta Hugo Ida Jonas Karla Leo Mia Noah Olga
    Paul Rosa Simon Tess Viktor
    """
)
_LAST: Final = words(
    """
    Müller Nowak García O'Brien Þórsdóttir Nguyễn Özdemir Lefèvre Andersson Rossi Kovács Popović
    田中 王 Иванов Παπαδόπουλος शर्मा 김 Smith Jones Brown Weber Fischer Novák Silva Costa de_Vries
    Jansen Meyer Berg Lund
    """
)
_CITIES: Final = words(
    """
    Köln Zürich Kraków Málaga Malmö Brno Gdańsk Besançon Århus Reykjavík Lisboa Graz Gent Cork
    Leeds Torino İzmir 大阪 Осло Αθήνα Riga Tartu Porto Lille Nantes Bern Linz Ulm Bonn Jena
    """
)
_WORDS: Final = words(
    """
    oak linen steel wool cotton copper walnut ceramic marble leather slate amber indigo olive coral
    ivory desk lamp chair shelf rug vase clock mirror kettle mug bowl blanket pillow basket frame
    candle planter small large round folding stackable vintage modern nordic outdoor kids travel
    compact deluxe classic
    """
)
CURRENCIES: Final = ("EUR", "EUR", "EUR", "CHF", "PLN", "SEK", "GBP", "USD")
HOSTS: Final = ("shop.example.com", "shop.example.com", "www.example.com", "m.example.com", "api.example.com")
PROVIDERS: Final = ("api.pay.example", "psp.nordpay.example", "cards.example.net")
CARRIERS: Final = ("parcelline", "postnord", "dhl", "gls", "locker24")
_SYSTEMS: Final = (
    "Windows NT 10.0; Win64; x64",
    "Macintosh; Intel Mac OS X 10_15_7",
    "X11; Linux x86_64",
    "Linux; Android 14; Pixel 8",
    "Linux; Android 13; SM-A546B",
    "Linux; Android 10; K",
    "iPhone; CPU iPhone OS 17_5 like Mac OS X",
    "iPad; CPU OS 16_7 like Mac OS X",
)
_BOTS: Final = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "kube-probe/1.29",
    "python-requests/2.32.3",
    "okhttp/4.12.0",
)
_QUERIES: Final = (
    """SELECT "orders_order"."id", "orders_order"."status", "orders_order"."total" FROM "orders_order" WHERE \
"orders_order"."customer_id" = {id} ORDER BY "orders_order"."created_at" DESC LIMIT {few}""",
    """SELECT "catalog_price"."sku", "catalog_price"."amount" FROM "catalog_price" WHERE \
"catalog_price"."product_id" IN ({some})""",
    """UPDATE "stock_level" SET "reserved" = "reserved" + 1 WHERE "sku" = '{sku}' AND \
"warehouse_id" = {place} RETURNING available""",
    """SELECT COUNT(*) FROM "catalog_product" INNER JOIN "catalog_category" ON \
("catalog_product"."category_id" = "catalog_category"."id") WHERE "catalog_category"."path" LIKE '{word}/%' \
AND "catalog_product"."stock" > {place} AND "catalog_product"."owner_id" <> {id}""",
)


class Draw(random.Random):
    """A seeded generator that knows the words of a shop."""

    def hex(self, size: int) -> str:
        """Return an id of so many random bytes as hex digits."""
        return f"{self.getrandbits(8 * size):0{2 * size}x}"

    def number(self, low: int, high: int) -> int:
        """Return an integer, small ones more often, as ids of things in use are."""
        return low + int((high - low) * self.random() ** 2)

    def name(self) -> str:
        """Return the name of a person."""
        return f"{self.choice(_FIRST)} {self.choice(_LAST)}"

    def city(self) -> str:
        """Return a city."""
        return self.choice(_CITIES)

    def email(self) -> str:
        """Return an invented mail address."""
        return f"{self.choice(_WORDS)}.{self.hex(3)}@example.{self.choice(('com', 'org', 'net'))}"

    def sku(self) -> str:
        """Return an article number."""
        return f"{self.choice(_WORDS)[:3].upper()}-{self.number(10_000, 99_999)}-{self.choice('BKRGWYX')}"

    def title(self) -> str:
        """Return the name of an article."""
        return " ".join(self.sample(_WORDS, self.randint(2, 4)))

    def slug(self) -> str:
        """Return the name of an article as it stands in a path."""
        return f"{'-'.join(self.sample(_WORDS, 3))}-{self.number(1_000, 60_000)}"

    def amount(self) -> float:
        """Return an amount of money."""
        return round(self.lognormvariate(3.6, 0.9), 2)

    def milliseconds(self, typical: float) -> float:
        """Return a duration with a long tail, as it is measured."""
        return round(typical * self.lognormvariate(0.0, 0.7), 3)

    def cart(self) -> dict[str, object]:
        """Return a cart as an application attaches it."""
        items = [
            {"sku": self.sku(), "quantity": self.number(1, 6), "price": self.amount()}
            for _ in range(self.number(1, 5))
        ]
        return {"cart_id": self.hex(6), "items": items, "currency": self.choice(CURRENCIES)}

    def address(self) -> str:
        """Return the address of a client."""
        if self.random() < 0.15:
            return f"2a02:{self.getrandbits(16):x}:{self.getrandbits(16):x}::{self.getrandbits(16):x}"
        return ".".join(str(self.randint(1, 254)) for _ in range(4))

    def agent(self) -> str:
        """Return the name of a client's program."""
        if self.random() < 0.08:
            return self.choice(_BOTS)
        if self.random() < 0.7:
            system = self.choice(("iOS 17.5", "iOS 16.7", "Android 14", "Android 13"))
            return f"ShopApp/{self.randint(6, 8)}.{self.randint(0, 19)}.{self.randint(0, 4)} ({system})"
        start = f"Mozilla/5.0 ({self.choice(_SYSTEMS)})"
        kind = self.random()
        if kind < 0.6:
            version = f"{self.randint(118, 129)}.0.{self.choice(('0', str(self.randint(5_000, 6_700))))}.0"
            edge = f" Edg/{version}" if self.random() < 0.2 else ""
            return f"{start} AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version} Safari/537.36{edge}"
        if kind < 0.85:
            version = f"{self.randint(15, 17)}.{self.randint(0, 6)}"
            return f"{start} AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{version} Safari/604.1"
        version = f"{self.randint(115, 131)}.0"
        return f"{start[:-1]}; rv:{version}) Gecko/20100101 Firefox/{version}"

    def query(self) -> str:
        """Return the text of a slow database query."""
        some = ", ".join(str(self.number(1, 900_000)) for _ in range(self.number(2, 25)))
        values = {
            "id": self.number(1, 90_000),
            "few": self.choice((10, 20, 50)),
            "some": some,
            "sku": self.sku(),
            "word": self.choice(_WORDS),
            "place": self.number(1, 12),
        }
        return self.choice(_QUERIES).format_map(values)

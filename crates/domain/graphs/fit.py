"""Numbers as expressions: of three values of each name, the product or sum of products that gives all three results."""

# Factors in the order in which they are tried.
FACTORS = (1, 2, 4, 8, 3, 6, 12, 16, 5, 7, 9, 10, 14, 18, 20, 24, 28, 32, 36, 40, 48, 64, 96, 128, 256)
FACTORS_OF_SUMS = (1, 2, 4, 8, 12, 16)
# Products that are extended by one more name.
MOST = 60000


class Fit:
    def __init__(self, symbols, is_one=False):
        """Names with their values, those that are preferred first; of one model many are equal by chance."""
        self.is_one = is_one
        count = len(symbols[0][1])
        known, self.symbols = {}, []
        for name, values in symbols:
            values = tuple(values)
            if values not in known and not (len(set(values)) == 1 and values[0] <= 1):
                known[values] = name
                self.symbols.append((name, values))
        # Values of a product: its text and what it costs; the cheapest is taken.
        self.products = {(1,) * count: ("1", 0)}
        for names, values, cost in self.all_products(count):
            if values not in self.products or self.products[values][1] > cost:
                self.products[values] = ("*".join(names) or "1", cost)
        self.found = {}

    def all_products(self, count):
        products, frontier = [], [((), (1,) * count, 0, 0)]
        for depth in range(4):
            longer = []
            for names, values, cost, start in frontier:
                for at in range(start, len(self.symbols)):
                    name, own = self.symbols[at]
                    product = tuple(one * other for one, other in zip(values, own))
                    is_chance = self.is_one and ":" in name
                    longer.append((names + (name,), product, cost + 10 + at * 0.1 + 5 * is_chance, at))
            if depth < 3 or len(self.symbols) < 16:
                products += [entry[:3] for entry in longer]
            frontier = longer[:MOST]
        return products

    def text(self, values):
        """What starts with `?` was not found."""
        values = tuple(values)
        if values not in self.found:
            self.found[values] = self.search(values)
        return self.found[values]

    def search(self, values):
        if len(set(values)) == 1 and not (values in self.products and values[0] >= 16):
            return str(values[0])
        return self.product(values) or self.sum(values) or "?" + ",".join(map(str, values))

    def product(self, values):
        best = None
        for factor in FACTORS:
            if any(value % factor for value in values):
                continue
            name, cost = self.products.get(tuple(value // factor for value in values), (None, 0))
            if name is None:
                continue
            cost += 0 if factor == 1 else 3 + factor * 0.01 + 10 * (self.is_one and factor > 16)
            if best is None or cost < best[1]:
                best = ((f"{factor}*" if factor != 1 else "") + name, cost)
        return best and best[0]

    def sum(self, values):
        for factor in FACTORS_OF_SUMS:
            if any(value % factor for value in values):
                continue
            best = None
            rest = tuple(value // factor for value in values)
            for product, (name, cost) in self.products.items():
                for times in (1, 2, 3, -1):
                    other = tuple(one - times * own for one, own in zip(rest, product))
                    if min(other) <= 0 or other not in self.products:
                        continue
                    first, first_cost = self.products[other]
                    both = cost + first_cost + 10 + abs(times - 1) * 3
                    if best is None or both < best[1]:
                        sign = ("+" if times > 0 else "-") + (f"{times}*" if times > 1 else "")
                        text = first + sign + name
                        best = (f"{factor}*({text})" if factor != 1 else text, both)
            if best:
                return best[0]
        return None

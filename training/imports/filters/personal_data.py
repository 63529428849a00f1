"""Personal data by its form; numbers with a check digit count only where it is right."""

from __future__ import annotations

import ipaddress
import re

from training.imports.contract import ImportedRow
from training.imports.filters import Check

# A name with a leading @ is one of the Fediverse.
EMAIL = re.compile(r"(?<![@\w.+-])[\w.+-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}(?![\w@])", re.IGNORECASE)
# With a country code, with a leading zero, or grouped as in North America; a bare number could be anything.
PHONE = re.compile(
    r"(?<![\w.,/-])(?<!\d\s)(?:(?:\+|00)[1-9](?:[\s().-]*\d){7,13}|0\d{1,4}[\s/.-]+\d(?:[\s.-]?\d){5,9}"
    r"|(?:1[\s.-])?\(?\d{3}\)?[\s.-]\d{3}[\s.-]\d{4})(?![\w,/-]|\.\d)"
)
IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b")
CARD = re.compile(r"(?<![\w.,-])(?<!\d\s)[3-6]\d{3}(?:[ -]?\d){9,15}(?![\w,-]|\.\d)")
IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]\w)")
IPV6 = re.compile(r"(?<![\w:])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:])", re.IGNORECASE)
STREETS_BEFORE = r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Square|Sq|Terrace)"
# The run of a German street's name is bounded: it would be read once from each capital after a hyphen on.
POSTAL = re.compile(
    rf"\b\d{{1,5}}[a-z]? (?:[A-Z][\w'’.-]+ ){{1,3}}{STREETS_BEFORE}\b\.?"
    r"|\b[A-ZÄÖÜ][\wäöüß.-]{0,63}(?:straße|strasse|str\.|gasse|weg|platz|allee) \d{1,4}\s?[a-z]?\b"
    r"|\b\d{1,4}(?: ?bis)?,? (?:rue|avenue|boulevard|place|chemin) (?:d[eu]s? |de la |de l['’])?[A-ZÉÈ]\w+"
)
IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AT": 20, "BE": 16, "BG": 22, "CH": 21, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "EE": 20,
    "ES": 24, "FI": 18, "FR": 27, "GB": 22, "GR": 27, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IS": 26, "IT": 27,
    "LI": 21, "LT": 20, "LU": 20, "LV": 21, "MC": 27, "MT": 31, "NL": 18, "NO": 15, "PL": 28, "PT": 25, "RO": 24,
    "RS": 22, "SA": 24, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "TR": 26, "UA": 29,
}  # fmt: skip


def personal_data() -> Check:
    def check(row: ImportedRow) -> str | None:
        text = row.text
        if EMAIL.search(text):
            return "an e-mail address"
        if not any(char.isdigit() for char in text):
            return None
        return _numbers(text)

    return check


def _numbers(text: str) -> str | None:
    if any(_iban(found) for found in IBAN.findall(text)):
        return "a bank account number"
    if any(_card(found) for found in CARD.findall(text)):
        return "a credit card number"
    if PHONE.search(text):
        return "a telephone number"
    if any(_computer(found) for found in (*IPV4.findall(text), *IPV6.findall(text))):
        return "the address of a computer"
    return "a postal address" if POSTAL.search(text) else None


def _iban(found: str) -> bool:
    """ISO 13616: the country and check digits moved to the end, letters as 10 to 35, leave 1 modulo 97; what follows
    the length that the country has is another word.
    """
    plain = found.replace(" ", "")
    length = IBAN_LENGTHS.get(plain[:2])
    if length is None or len(plain) < length:
        return False
    moved = plain[4:length] + plain[:4]
    return int("".join(str(int(char, 36)) for char in moved)) % 97 == 1


def _card(found: str) -> bool:
    """Luhn's check digit (ISO/IEC 7812-1), on 13 to 19 digits."""
    digits = [int(char) for char in found if char.isdigit()]
    if not 13 <= len(digits) <= 19:
        return False
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _computer(found: str) -> bool:
    """An address that somebody can be reached at: no loopback, and not all zeros."""
    try:
        address = ipaddress.ip_address(found)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified or int(address) < 2**24)

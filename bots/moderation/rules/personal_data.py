"""Personal data: account numbers are blocked, ways to reach a person are for a person to look at. Reasons never quote
them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from bots.moderation.contract import PASSED, Finding, Rule, RuleContext, Verdict

EMAIL = re.compile(r"[\w.+-]{1,64}(?:@|\s?\[at\]\s?|\s?\(at\)\s?)(?:[\w-]{1,63}\.){1,6}[a-z]{2,24}\b", re.IGNORECASE)
PHONES = (
    re.compile(r"(?<![\w.])(?<!\d[ -])(?:\+|00)[1-9](?:[ ().\-/]{0,2}\d){7,14}(?!\w)", re.ASCII),
    re.compile(r"(?<![\w.-])(?<!\d[ -])\(?[2-9]\d\d\)?[ .\-]{1,2}\d{3}[ .\-]\d{4}(?![\w-])", re.ASCII),
    re.compile(r"(?<![\w.])(?<!\d[ -])\(?0\d{2,4}\)?[ /\-](?:\d[ \-]?){5,8}\d(?!\w)", re.ASCII),
)
CARD = re.compile(r"(?<![\w.])(?<!\d[ -])[2-6](?:[ -]?\d){12,18}(?!\w)", re.ASCII)
IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,30}", re.ASCII)
IP_ADDRESS = re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f:]{2,39})(?![\w:])", re.ASCII | re.IGNORECASE)
# SWIFT IBAN registry: length by country.
IBAN_COUNTRIES = """
AD24 AE23 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 ES24 FI18 FO18 FR27 GB22 GE22 GI23
GL18 GR27 GT28 HR21 HU28 IE22 IL23 IS26 IT27 JO30 KW30 KZ20 LB28 LI21 LT20 LU20 LV21 MC27 MD24 ME22 MK19 MR27 MT31 MU30
NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SE24 SI19 SK24 SM27 TN24 TR26 UA29 VG24 XK20
"""
IBAN_LENGTHS = {entry[:2]: int(entry[2:]) for entry in IBAN_COUNTRIES.split()}


def has_card_number(text: str) -> bool:
    return any(luhn(re.sub(r"\D", "", match.group())) for match in CARD.finditer(text))


def has_iban(text: str) -> bool:
    return any(is_iban(re.sub(r"[ -]", "", match.group())) for match in IBAN.finditer(text.upper()))


def has_ip_address(text: str) -> bool:
    """Addresses on the public internet only: private ones lead to nobody."""
    return any(_is_public(match.group()) for match in IP_ADDRESS.finditer(text))


def has_email(text: str) -> bool:
    return EMAIL.search(text) is not None


def has_phone_number(text: str) -> bool:
    return any(phone.search(text) for phone in PHONES)


def luhn(digits: str) -> bool:
    """The check digit of ISO/IEC 7812-1 annex B."""
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (doubled + sum(int(digit) for digit in digits[-1::-2])) % 10 == 0


def is_iban(text: str) -> bool:
    """The check digits of ISO 13616 (modulo 97); what follows after the country's length is not looked at."""
    length = IBAN_LENGTHS.get(text[:2], 0)
    if not 0 < length <= len(text):
        return False
    turned = text[4:length] + text[:4]
    return int("".join(str(int(char, 36)) for char in turned)) % 97 == 1


def _is_public(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_global
    except ValueError:
        return False


CHECKS: tuple[tuple[Verdict, str, Callable[[str], bool]], ...] = (
    ("block", "a payment card number", has_card_number),
    ("block", "a bank account number (IBAN)", has_iban),
    ("flag", "an e-mail address", has_email),
    ("flag", "a phone number", has_phone_number),
    ("flag", "an IP address", has_ip_address),
)


class PersonalData(Rule):
    def check(self, text: str, context: RuleContext) -> Finding:
        found = [(verdict, what) for verdict, what, look in CHECKS if look(text)]
        if not found:
            return PASSED
        verdict: Verdict = "block" if any(verdict == "block" for verdict, _ in found) else "flag"
        return Finding(verdict, f"The text seems to hold {' and '.join(what for _, what in found)}.")

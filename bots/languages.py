"""Which language a post is in: by its script, or by its commonest words; "" where that does not show.

A detector of its own, because posts are short and the packages with trained profiles always guess: a wrong guess drops
a post that somebody wanted, while an unknown one is kept.
"""

from __future__ import annotations

import re

# A part of a host's name has 63 characters at most (RFC 1035); without that bound, a long run would be read once from
# each of its hyphens on.
ADDRESS = re.compile(
    r"(?:https?://|www\.)\S+|\b[a-z0-9-]{1,63}\.(?:com|org|net|io|co|ly|gl|me|de|tv)/\S+", re.IGNORECASE
)
MENTION = re.compile(r"(?<!\w)(?:@[\w.-]+(?:@[\w.-]+)?|/?u/[\w-]+)")
NAMES = {
    "en": "English", "de": "German", "fr": "French", "es": "Spanish", "it": "Italian", "pt": "Portuguese",
    "nl": "Dutch", "pl": "Polish", "sv": "Swedish", "tr": "Turkish", "ru": "Russian", "uk": "Ukrainian",
    "el": "Greek", "he": "Hebrew", "ar": "Arabic", "hi": "Hindi", "th": "Thai", "ja": "Japanese",
    "ko": "Korean", "zh": "Chinese",
}  # fmt: skip
COMMON = {
    "en": "the and to of is you that it for was on are with as his they be this have from or had by not but what all "
    "were we when your can said there an each which she how their if will about out many them these so some her "
    "would like him has just my me been who its now people get than i'm don't it's do did no more i at he our up "
    "why know think a in after only over new back made make first time",
    "de": "der die und das ist nicht ich du er sie es wir ihr ein eine einen dem den zu mit auf für von im auch sich "
    "wie aber bei nach noch nur oder wenn so hat haben wird war sind bin mir mich dir uns euch kein keine schon "
    "mal was warum dass über sehr immer hier heute mehr doch ja nein zum zur aus um durch",
    "fr": "le la les des et est pas je tu il elle nous vous ils une un du que qui dans pour sur avec ce cette ces mais "
    "ou où plus au aux ne se son sa ses mon ma mes ton ta tes c'est j'ai très bien tout tous comme sans être "
    "avoir fait même encore quand si leur leurs aussi on d'un d'une n'est qu'il",
    "es": "el la los las y que no es en un una por con para se del lo como más pero sus su le ya o este sí porque esta "
    "entre cuando muy sin sobre también me hasta hay donde quien desde todo nos durante todos uno les ni contra "
    "otros ese eso mi tu estoy está son qué ser tiene hoy al",
    "it": "il lo la i gli le e che di non è un una per con sono mi ti si ci ma come più anche da del della dei delle "
    "nel nella al alla questo questa quello ho hai ha abbiamo hanno cosa perché quando molto tutto tutti bene fa "
    "sei io tu lui lei noi voi loro mio mia tuo sua suo oggi ancora sempre",
    "pt": "o a os as e que não é em um uma por com para se do da dos das no na nos nas como mais mas ao foi ele ela "
    "você eu tem à seu sua ou quando muito já está também só pelo pela até isso depois sem mesmo aos seus quem "
    "nós são essa esse isto hoje tudo meu minha ter fazer bem porque",
    "nl": "de het een en van ik te dat die in je niet is op aan met voor zijn er was wat als ze dan maar hij om ook "
    "naar bij nog uit wel geen hebben heb heeft deze dit zo kan wordt worden mijn mij jij wij zij ons hun meer "
    "heel goed waarom omdat hoe door over veel vandaag altijd",
    "pl": "i w nie się na jest to że z do jak o co ale po za od ten ta ja ty on ona my wy oni mnie mi mu jej ich już "
    "tak czy tylko dla był była było być są jestem bardzo może kiedy gdy więc tego tym przez przed jeszcze nic "
    "wszystko dlaczego który która które dzisiaj dziś też",
    "sv": "och att det i en jag hon som han på den med var sig för så till är men ett om hade de av icke mig du henne "
    "då sin nu har inte hans honom skulle hennes där min man ej vid kunde något från ut när efter upp vi dem vara "
    "vad över än dig kan sina här ha mot alla under någon eller allt mycket bara också varför idag",
    "tr": "bir ve bu da de için ne çok ama gibi daha ben sen o biz siz onlar var yok mi mı değil kadar sonra olan "
    "olarak diye ki şey her en ile ya hiç şimdi bana sana ona beni seni neden nasıl böyle bugün iyi olsun oldu "
    "ise çünkü",
}  # fmt: skip
SCRIPTS = (
    ("ja", re.compile(r"[\u3040-\u30ff]")), ("ko", re.compile(r"[\uac00-\ud7af]")),
    ("zh", re.compile(r"[\u4e00-\u9fff]")), ("uk", re.compile(r"[іїєґІЇЄҐ]")), ("ru", re.compile(r"[\u0400-\u04ff]")),
    ("el", re.compile(r"[\u0370-\u03ff]")), ("he", re.compile(r"[\u0590-\u05ff]")),
    ("ar", re.compile(r"[\u0600-\u06ff]")), ("hi", re.compile(r"[\u0900-\u097f]")),
    ("th", re.compile(r"[\u0e00-\u0e7f]")),
)  # fmt: skip
CYRILLIC = re.compile(r"[\u0400-\u04ff]")
LETTERS = {"de": "ß", "es": "ñ¿¡", "fr": "œçêîû", "pt": "ãõ", "pl": "łąęśżźćń", "sv": "å", "tr": "ğışİ"}
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
LEAST, LEAD = 2.0, 1.6
"""A language needs this many of its words, and this many times those of the next one."""


def _shares() -> dict[str, dict[str, float]]:
    """Word → language → weight: one divided by the number of languages that have the word."""
    shares: dict[str, dict[str, float]] = {}
    for language, words in COMMON.items():
        for word in set(words.split()):
            shares.setdefault(word, {})[language] = 1.0
    return {word: {name: 1 / len(found) for name in found} for word, found in shares.items()}


SHARES = _shares()


def language_of(text: str) -> str:
    """The code of the language (ISO 639-1) that the text is in, "" where it does not show."""
    plain = bare(text)
    words = WORD.findall(plain)
    letters = sum(map(len, words))
    if not letters:
        return ""
    if script := _by_script(plain, letters):
        return script
    points = dict.fromkeys(COMMON, 0.0)
    for word in words:
        for language, share in SHARES.get(word.casefold().replace("’", "'"), {}).items():
            points[language] += share
    for language, special in LETTERS.items():
        points[language] += min(1.0, sum(plain.count(letter) for letter in special) / 2)
    first, second = sorted(points, key=points.__getitem__, reverse=True)[:2]
    return first if points[first] >= LEAST and points[first] >= LEAD * points[second] else ""


def _by_script(text: str, letters: int) -> str:
    """The language of a script that it has to itself; kana tell Japanese, and Ukrainian has letters of its own."""
    for language, pattern in SCRIPTS:
        count = len(pattern.findall(text))
        least = 0.02 if language == "uk" else 0.15 if language == "ja" else 0.5
        if count >= least * letters and (language != "uk" or len(CYRILLIC.findall(text)) >= 0.5 * letters):
            return language
    return ""


def has_address(text: str) -> bool:
    """Whether there is an address of the web in it."""
    return _may_have_address(text) and ADDRESS.search(text) is not None


def bare(text: str) -> str:
    """The text without addresses and names of accounts."""
    without = ADDRESS.sub(" ", text) if _may_have_address(text) else text
    return MENTION.sub(" ", without) if "@" in without or "/" in without else without


def _may_have_address(text: str) -> bool:
    # Most posts have none, and to look for one letter by letter takes longer than all else an import does with them.
    return "/" in text or "www." in text.lower()

"""The labelled sentences that the built-in toxicity classifier learns from and is measured on. Constructed here, from
families of sentences and lists of words; none is anybody's post.

A family belongs to one side: what is measured comes from families and words that nothing was learned from. The hostile
ones insult, threaten, wish harm and degrade; the harmless ones are chatter, and hard cases: hostile words without
hostility (“kill the process”), hostility that is told of, groups that are only spoken about.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

LEARN, MEASURE = "learn", "measure"


@dataclass(frozen=True)
class Family:
    """Sentences of one shape: `{name}` stands for each word of that list."""

    hostile: bool
    side: str
    shapes: tuple[str, ...]


def _lists(told: str) -> dict[str, tuple[str, ...]]:
    """Name → words, from “name: one, two” with more of its words on lines that are set in deeper."""
    entries = " ".join(line.strip() if line.startswith(" " * 12) else f"\n{line.strip()}" for line in told.splitlines())
    pairs = (entry.split(": ", 1) for entry in entries.split("\n") if entry.strip())
    return {name: tuple(word.strip() for word in words.split(",")) for name, words in pairs}


WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    LEARN: _lists(
        """
        insult: idiot, moron, loser, clown, dumbass, piece of shit, asshole, scumbag, pig, liar, worthless
            fool, disgusting creep, pathetic nobody, brainless sheep, rat, coward
        bad: stupid, pathetic, worthless, disgusting, dumb, useless, vile, ugly, hopeless, sick
        harm: die, rot, choke, drown, suffer, burn, drop dead, get hit by a bus, never wake up
        hurt: kill, hurt, stab, beat, find, break, destroy, shoot
        beasts: vermin, animals, parasites, filth, trash, subhuman, rats
        group: people like you, those people, immigrants, your kind, these foreigners, women, they all
        thing: the garden, this recipe, our new bakery, the museum, my old bicycle, the night train, that
            film, the city library, my first marathon, this album, the harbour, our school
        good: lovely, quiet, surprising, slow, beautiful, odd, warm, busy, cheap, wonderful
        job: the process, the server, the lights, the engine, that background task, the daemon
        kind: help, joy, star, darling, gem, good sport, inspiration, friend, legend, sweetheart
        role: doctor, teacher, student, driver, baker, parent, neighbour, member, singer, writer, guest,
            painter, nurse, beginner, lawyer, pilot
        who: my sister, the neighbours, a friend, our teacher, the mayor, two students, my boss
        """
    ),
    MEASURE: _lists(
        """
        insult: imbecile, cretin, jerk, bastard, halfwit, bitch, snake, failure of a person, oaf, spineless
            worm, miserable waste of space, dirtbag
        bad: revolting, idiotic, repulsive, brainless, rotten, miserable
        harm: perish, bleed out, fall off a cliff, get cancer, be run over, end up in a ditch
        hurt: strangle, punch, smash, hunt down, hang, wreck
        beasts: cockroaches, scum, pests, garbage, a plague
        group: all of you, refugees, that lot, these tourists, old people, men
        thing: the orchard, that podcast, our choir, the tram, this novel, the lake, my grandmother's soup
        good: calm, funny, strange, delicious, noisy, cosy
        job: the thread, the container, the build, the alarm, that zombie process
        kind: treasure, genius, delight, rock, champion, wonderful person
        role: dentist, librarian, runner, gardener, colleague, voter
        who: my cousin, the landlord, a stranger, our coach, the committee
        """
    ),
}
FAMILIES = (
    Family(
        True,
        LEARN,
        (
            "you are such a {insult}",
            "you {bad} {insult}",
            "what a {insult} you are",
            "shut up, {insult}",
            "listen, you {insult}, nobody asked you",
            "everyone knows you are a {insult}",
            "only a {bad} {insult} would say this",
            "you're {bad} and so is everything you write",
        ),
    ),
    Family(
        True,
        LEARN,
        (
            "i hope you {harm}",
            "just {harm} already",
            "you deserve to {harm}",
            "{harm}, you {insult}",
            "i can't wait for you to {harm}",
        ),
    ),
    Family(
        True,
        LEARN,
        (
            "i will {hurt} you",
            "we are coming to {hurt} you",
            "i'm going to {hurt} you and your family",
            "somebody should {hurt} you",
            "next time i see you i'll {hurt} you",
        ),
    ),
    Family(
        True,
        LEARN,
        (
            "{group} are {beasts}",
            "get rid of {group}, they are {beasts}",
            "{group} are nothing but {beasts}",
            "{group} don't deserve to live here, {bad} {beasts}",
        ),
    ),
    Family(
        True,
        LEARN,
        (
            "nobody likes you, you {bad} {insult}",
            "go away, nobody wants you here, {insult}",
            "you will always be {bad}",
            "kill yourself, {insult}",
            "fuck you, {insult}",
            "i hate you, {insult}",
        ),
    ),
    Family(
        False,
        LEARN,
        (
            "{thing} was {good} today",
            "has anyone seen {thing}? so {good}",
            "{who} and i went to {thing}",
            "a {good} morning at {thing}",
            "you should visit {thing}, it is {good}",
            "thank you, {who}!",
            "what a {good} idea, i hope you like {thing}",
            "{who} will find you at {thing}",
            "i will see you at {thing}",
            "you are {good}, thank you",
            "i hope you have a {good} day",
        ),
    ),
    Family(
        False,
        LEARN,
        (
            "you are such a {kind}",
            "what a {kind} you are",
            "i love you, {who}",
            "i miss you, you {kind}",
            "thank you, you're a {kind}",
            "i love {thing} and i love you",
            "{good} to hear from you, you {kind}",
        ),
    ),
    Family(
        False,
        LEARN,
        (
            "you are a {role}",
            "are you a {role}?",
            "you're not a {role}, are you",
            "as a {role} you know {thing}",
            "listen, you are the {role} here",
            "everyone knows you are a {role}",
            "i hope you become a {role}",
            "i will meet you there, said the {role}",
            "i will call you tomorrow about the {role}",
            "we will help you find a {role}",
            "somebody should thank you, {role}",
        ),
    ),
    Family(
        False,
        MEASURE,
        (
            "are you really that {role}?",
            "your mother is a {role}",
            "look at this {role}",
            "one day you will be a {role}",
        ),
    ),
    Family(
        False,
        MEASURE,
        ("you are a {kind}", "my {kind}, how are you?", "look at this {kind}", "typical {kind}, {good} as ever"),
    ),
    Family(
        False,
        LEARN,
        (
            "you are such a {good} person",
            "you're {good} and so is everything you write",
            "what a {good} friend you are",
            "everyone knows you are {good}",
            "nobody makes {thing} like you",
            "next time i see you i'll bring {thing}",
            "we are coming to see you at {thing}",
            "i can't wait for you to see {thing}",
            "you deserve {thing}, {who} said",
        ),
    ),
    Family(
        False,
        LEARN,
        (
            "how do i kill {job}?",
            "{job} died again, so i had to kill it",
            "shoot me a message about {job}",
            "this fix is stupid but {job} works",
            "an idiot-proof guide to {job}",
            "we beat them three to one, {who} scored",
            "{job} is slow as hell and i am dying of boredom",
            "you can kill {job} with one command",
            "this joke about {job} killed me",
        ),
    ),
    Family(
        False,
        LEARN,
        (
            "{who} called me a {insult} and i walked away",
            "“{insult}” is no way to speak to {who}",
            "they shouted “i hope you {harm}” at {who}; we reported it",
            "i was a {insult} to forget {thing}",
            "calling {group} {beasts} is wrong",
            "nobody should hear “{insult}” at work",
            "{who} was told to {harm}, and the moderators did nothing",
        ),
    ),
    Family(
        False,
        LEARN,
        (
            "{group} are our neighbours",
            "the rights of {group} matter to {who}",
            "{group} meet at {thing} on sundays",
            "a report on {group} and {thing}",
            "{group} deserve respect",
        ),
    ),
    Family(
        True,
        MEASURE,
        (
            "are you really that {bad}, {insult}?",
            "typical {insult}, as {bad} as ever",
            "your mother raised a {insult}",
            "look at this {bad} {insult}",
            "crawl back under your rock, {insult}",
        ),
    ),
    Family(True, MEASURE, ("do us all a favour and {harm}", "may you {harm} soon", "hopefully you {harm} tonight")),
    Family(
        True,
        MEASURE,
        (
            "watch your back, i'll {hurt} you",
            "one day they will {hurt} you in your sleep",
            "give me your address so i can {hurt} you",
        ),
    ),
    Family(
        True,
        MEASURE,
        (
            "{group}: {beasts}, every single one",
            "this country is full of {group}, what {beasts}",
            "send {group} back, the {beasts}",
        ),
    ),
    Family(
        False,
        MEASURE,
        (
            "does anybody know when {thing} opens?",
            "{who} made {thing} look {good}",
            "finally finished with {thing}, feeling {good}",
            "look at this {good} picture of {thing}",
            "are you coming to {thing} with {who}?",
            "give me your opinion on {thing}",
            "may you enjoy {thing}",
        ),
    ),
    Family(
        False,
        MEASURE,
        (
            "hit the wall with {job}, then smashed it",
            "my code is garbage but {job} runs",
            "{job} hangs, should i terminate it?",
            "this plot twist in {thing} destroyed me",
            "sick beat, {who}!",
            "the dummy's guide to {job}",
        ),
    ),
    Family(
        False,
        MEASURE,
        (
            "{who} got a letter that said “{insult}”",
            "why do people say “{harm}” to {who}?",
            "she wrote about being called a {insult}",
            "saying that {group} are {beasts} gets you banned here",
            "i felt like a {insult} after missing {thing}",
        ),
    ),
    Family(False, MEASURE, ("{group} queue in front of {thing}", "how {group} see {thing}", "a concert for {group}")),
)


def sentences(side: str, most_of_a_shape: int = 60) -> list[tuple[str, bool]]:
    """The side's sentences with whether they are hostile: of each shape every filling, or a drawn part of them."""
    draw = random.Random(7)  # nosec B311 # the same sentences every time, nothing secret
    found = []
    for family in FAMILIES:
        if family.side == side:
            for shape in family.shapes:
                filled = list(_filled(shape, WORDS[side]))
                chosen = draw.sample(filled, min(most_of_a_shape, len(filled)))
                found += [(text, family.hostile) for text in chosen]
    return found


def _filled(shape: str, words: dict[str, tuple[str, ...]]) -> Iterator[str]:
    names = [name for name in words if f"{{{name}}}" in shape]
    for chosen in itertools.product(*(words[name] for name in names)):
        yield shape.format(**dict(zip(names, chosen, strict=True)))

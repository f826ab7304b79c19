"""Leave out rules that can ask for nothing that some globs match, so that nobody asks for them.

Pure. What a rule asks for is known as far as its destinations tell; tags are told apart later.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from imgmigrate.rules.globs import stand_in
from imgmigrate.rules.templates import concrete_rule

if TYPE_CHECKING:
    from imgmigrate.config.model import Config
    from imgmigrate.observing.globs import Globs
    from imgmigrate.rules.rule import GlobRule, Rule

__all__ = ["narrow"]


def narrow(config: Config, globs: Globs) -> Config:
    """Keep the rules that may ask for an address that some glob matches; all without globs.

    Rules are kept by their destinations' repositories, whatever tags they name: a rule that
    names its repository still stands before one of many (DESIGN section 3).
    """
    if not globs:
        return config
    rules = tuple(rule for rule in config.rules if _may_ask(rule, globs))
    many = tuple(rule for rule in config.globs if _may_ask_some(rule, globs, str(config.base)))
    return replace(config, rules=rules, globs=many)


def _may_ask(rule: Rule, globs: Globs) -> bool:
    return any(globs.may_match(each.repository) for each in rule.destinations)


def _may_ask_some(rule: GlobRule, globs: Globs, base: str) -> bool:
    """Only the stores are the same for all that a rule of many repositories makes."""
    sample = concrete_rule(rule, stand_in(rule.rule.source), base)
    return any(globs.may_match_in(each.repository.store) for each in sample.destinations)

"""Tokens that exchange messages, and slots that rules change one by one."""

from equivariant.nn.tokens.attention import CrossAttention
from equivariant.nn.tokens.messages import MessageEncoder, MessageLayer
from equivariant.nn.tokens.production_system import ProductionSystem, RuleChoice

__all__ = [
    "CrossAttention",
    "MessageEncoder",
    "MessageLayer",
    "ProductionSystem",
    "RuleChoice",
]

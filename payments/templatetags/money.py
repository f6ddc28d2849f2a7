"""Amounts in templates: {% load money %}.

{{ invoice.amount_due_minor|money:invoice.currency }} is "€9.00", {{ plan|price }} "€9.00 a month", {{ plan|rhythm }}
"monthly".
"""

from django import template

from .. import money

register = template.Library()
register.filter("money", money.text)
register.filter("price", money.price)
register.filter("rhythm", money.rhythm)

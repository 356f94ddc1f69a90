"""Word lists of the demo model: synonyms, stop words and spelled numbers."""

CONCEPTS = """
confirm yes yeah yep yup right correct agree agrees agreed accept perfect exactly ok okay sure absolutely
confirm confirmed
change actually instead amend adjust modify switch wrong incorrect mistake different
cancel cancellation cancelling cancelled canceled
book reserve reserving reservation reservations booking bookings
finish goodbye bye finished done
else more other further
human person agent manager supervisor representative operator colleague someone somebody
upset angry furious frustrated frustrating annoyed ridiculous unacceptable terrible useless complain
upset complaint
solve solved solves fix fixed fixes work works worked working resolve resolved helped
login password locked
later callback busy driving
open opening opened close closed closing closes hours hour
address location directions where street
park parking
menu food dish dishes vegetarian vegan gluten allergy
price prices cost costs pricing expensive cheap
event wedding birthday anniversary celebration celebrate celebrating private
bill billing invoice invoices payment payments charge charged charges refund refunds refunded
sync synchronise synchronises synchronising synchronize synchronizing synced syncing missing
setup install installation
security secure encrypted gdpr privacy
demonstration demo
talk speak chat
plan plans storage gigabytes terabytes
"""
"""One concept per line: its words all count as the first one. A concept may have several lines."""

STOP_WORDS = """
a about after again all also an and any anything are as ask asks asking at be because been but by call
called can could customer caller day did do does doing for from get gets give gives go going good got had
has have he hello help her here hey hi him his how i i'd i'll i'm i've if in into is it it's its just kind
know known like likes made make makes me my need needs now of off on one or our out over person's please
possible problem question questions really s said say says see she should so some something speaks such
take tell thank thanks that that's the their them then there these they they're thing things think this
those time to today too two up us use used user very via want wants was way we well were what what's when
which while who whole why will with would you your
"""
"""Words without meaning for a user's request."""

NUMBERS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen twenty
"""
"""Spelled numbers, in order from zero."""

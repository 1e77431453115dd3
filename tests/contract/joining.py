"""Names in which joiners meet all kinds of characters that matter to them."""

from typing import Final

from hypothesis import strategies as st

NAMES_WITH_JOINERS: Final = st.text(
    st.sampled_from(
        [
            *"\u200c\u200d" * 4,
            *"\u0628\u0627\u0631\u0645\u06cc\ua872\u0640",  # Arabic and Phags-pa: dual, right, left, causing
            *"\u064b\u0670\u20dd",  # transparent
            *"\u0915\u0937\u0dc1\u0dbb\u1b13",  # consonants
            *"\u094d\u0dca\u1b44\ua9c0",  # viramas, two of them spacing
            *"\u093c\u0901\u0345",  # marks with and without a class
            *"\u093e\u0dd3\u0941",  # signs of vowels
            *"a 1\U0001f469\ufe0f",
        ]
    ),
    max_size=12,
)

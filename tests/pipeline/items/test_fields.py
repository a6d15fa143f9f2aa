"""The rule that chooses attribute fields, and what a user may ask for."""

import pytest

from pipeline.configs import SettingsError
from pipeline.errors import InputError
from pipeline.items import fields


def rows(count=60):
    """Rows with the fields of Amazon's metadata of 2018 and 2023."""
    return [
        {
            "asin": f"B{number}",
            "category": ["Beauty", f"Shelf {number % 5}"],
            "brand": f"Brand {number % 7}",
            "price": f"${number}.99",
            "title": f"Title {number}",
            "description": ["text"],
            "details": {"Size": "3"},
            "rank": "12 in Beauty",
            "salesRank": {"Beauty": 3},
            "average_rating": 4.1,
            "rating_number": 17,
            "also_buy": ["B1"],
            "related": {"bought_together": ["B2"]},
            "model_number": f"M{number}",
            "empty": None,
            "story": "words " * 20,
        }
        for number in range(count)
    ]


def test_the_rule():
    choice = fields.choose("items.jsonl", rows(), "")
    assert choice.item == "asin"
    assert [(field.name, field.kind) for field in choice.fields] == [
        ("category", "category"),
        ("brand", "category"),
        ("price", "number"),
    ]
    left_out = dict(choice.left_out)
    later = {"rank", "salesRank", "average_rating", "rating_number", "also_buy", "related"}
    assert {name for name, why in left_out.items() if "known after" in why} == later
    assert left_out["details"] == "nested objects"
    assert left_out["model_number"] == "different for nearly every item"
    assert left_out["empty"] == "empty in the first rows"
    assert left_out["title"] == left_out["description"] == "free text or links"
    assert left_out["story"] == "free text"
    assert any("left out: rank" in line for line in choice.describe())


# Amazon, Goodreads, Yelp, IMDb, TMDB, Steam, Google Play, BoardGameGeek, Last.fm, Hugging Face.
LATER = """
average_rating averageRating AVERAGE_RATING rating_number ratings_count ratings.count
averagerating imdbRating IMDBRating ratings_5 positive-ratings num_reviews numReviews reviewcount
text_reviews_count reviewerName salesRank sales_rank SALESRANK salesrank rank Rankings
best_sellers_rank bestseller also_buy alsoBought also_viewed related bought_together
buy_after_viewing similar_items similar_books helpful isPopular popularity popular_shelves stars
avgStars overall vote_average vote_count votes numVotes upvotes score metascore Metacritic revenue
gross Gross_Earnings worldwideGross box_office downloads download_count installs Installs likes
like_count dislikes plays play_count playcount owners users_owned listeners views pageviews
view_count clicks sold units_sold sales wishlist favourites
"""
BEFORE = """
operating_system operatingSystem generating_power decorating_style brand category price
preview_language interview_language display displays frank crank_length soldier devotes startup
starting_price genre genres owner brand_owner year runtime color playable_on gross_weight
overall_length min_players content_rating ContentRating age_rating installation_type seller
on_sale sale_price order_unit viewport scope likelihood totals number count alsace
"""


@pytest.mark.parametrize("name", LATER.split())
def test_what_ratings_sales_and_use_make_is_known_later(name):
    assert fields.known_later(name)
    rows_ = [{"asin": f"B{n}", "brand": f"b{n % 3}", name: n % 5} for n in range(60)]
    assert [field.name for field in fields.choose("f", rows_, "").fields] == ["brand"]
    assert fields.choose("f", rows_, name).fields[0].name == name  # unless it is asked for


@pytest.mark.parametrize("name", BEFORE.split())
def test_words_count_and_not_parts_of_them(name):
    assert not fields.known_later(name)


def test_what_a_user_asks_for():
    choice = fields.choose("f", rows(), "price:category, brand")
    assert [(field.name, field.kind) for field in choice.fields] == [
        ("price", "category"),
        ("brand", "category"),
    ]
    (line,) = [
        line for line in fields.choose("f", rows(), "average_rating").describe() if "look" in line
    ]
    assert "average_rating" in line
    assert "future" in line


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("brnd", "`item_fields`.*Received: 'brnd'. Did you mean brand?"),
        ("brand:text", "`item_fields`.*:category or :number.*Received: 'brand:text'"),
        ("brand,brand", "each field once"),
    ],
)
def test_wrong_wishes(wanted, message):
    with pytest.raises(SettingsError, match=message):
        fields.choose("f", rows(), wanted)


def test_a_file_without_ids_or_without_fields():
    with pytest.raises(InputError, match=r"column of item ids.*Received: name, x"):
        fields.choose("f", [{"name": "a", "x": 1}], "")
    with pytest.raises(InputError, match="rank: may only be known after the ratings"):
        fields.choose("f", [{"asin": "a", "rank": 3}], "")
    with pytest.raises(InputError, match="no other column"):
        fields.choose("f", [{"asin": "a"}], "")


@pytest.mark.parametrize(
    "name", ["asin", "parent_asin", "ItemId", "item_id:token", "movieId", "id"]
)
def test_known_names_of_the_id(name):
    assert fields.item_column("f", ["x", name]) == name

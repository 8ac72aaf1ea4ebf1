"""`spikebert recipes`: what there is to reproduce."""

import argparse


def register(commands):
    """Add `recipes`."""
    recipes = commands.add_parser(
        "recipes",
        help="the tasks that `spikebert reproduce` knows, and their settings",
        description="List the recipes, or print one. A recipe is a TOML file that holds every "
        "setting from the teacher to the table, under the names of the other commands' flags. "
        "Print one, change it, and give its path to `spikebert reproduce`.",
        epilog="examples:\n  spikebert recipes\n  spikebert recipes sst2 > mine.toml",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    recipes.add_argument("recipe", metavar="NAME", nargs="?", help="the recipe to print")
    recipes.set_defaults(run=run_recipes)


def run_recipes(args):
    """List, or print the file."""
    from ..training.recipe import load_recipe, recipe_names, recipe_path

    if args.recipe:
        load_recipe(args.recipe)
        print(recipe_path(args.recipe).read_text("utf-8"), end="")
        return
    for name in recipe_names():
        data = load_recipe(name).data
        print(f"{name:14} {data.task:36} {data.about}")

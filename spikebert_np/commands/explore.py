"""`spikebert explore`: a page on this machine that shows what a student makes of a sentence."""

import argparse
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ..errors import InputError
from .explain import class_names, open_explainable, student_name
from .options import at_least
from .use import SHIPPED

PORT = 8765


def register(commands):
    """Add `explore`."""
    explore = commands.add_parser(
        "explore",
        help="a local page: type a sentence, see inside the student",
        description="Serve one page on 127.0.0.1, for this machine alone, where you type a "
        "sentence, or two to compare, and see what `spikebert explain` shows: the answer and its "
        "margin, what each token adds, spikes, attention, theoretical energy. Sliders change the "
        "time steps and the threshold at inference. Nothing is loaded from elsewhere. Ctrl-C ends "
        "it.",
        epilog="examples:\n  spikebert explore\n  spikebert explore runs/toy --port 9000",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    explore.add_argument(
        "run_folder", metavar="RUN", nargs="?", type=Path, help=f"run folder {SHIPPED}"
    )
    explore.add_argument(
        "--port",
        metavar="N",
        type=at_least(0),
        default=PORT,
        help=f"where to listen; 0 takes one that is free (default: {PORT})",
    )
    explore.add_argument(
        "--no-browser", action="store_true", help="print the address, and open no browser"
    )
    explore.set_defaults(run=run_explore)


def run_explore(args):
    """Serve until Ctrl-C."""
    import webbrowser

    with explore_server(args.run_folder, args.port) as server:
        print(f"{server.url}    (Ctrl-C ends it)", flush=True)
        if not args.no_browser:
            # A browser in the terminal returns when it is left; it needs the answers before.
            threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("\nended")


@contextmanager
def explore_server(run_folder, port):
    """An ExploreServer of a run, or of the shipped student, for a `with` block.

    Raises InputError where the run will not do or the port is taken.
    """
    from ..analysis.explanation import explain, explanation_record
    from ..analysis.explanation_page import content_security_policy, explanation_page
    from ..training.workers import worker_count, workers
    from .explore_server import ADDRESS, ExploreServer

    run, tokenizer = open_explainable(run_folder, "explore")
    count = worker_count()

    def answer(request, gone):
        sentence, config = read_request(request, run.config)
        with workers(count) as at_once:
            until_gone = _map_until(gone, at_once)
            found = explain(sentence, tokenizer, run.params, config, run=until_gone, quiet=True)
        return explanation_record(found)

    page = explanation_page(
        run.config, name=student_name(run_folder), classes=class_names(run_folder, run.config)
    )
    try:
        server = ExploreServer(port, page, content_security_policy(), answer)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"--port {port}: cannot listen on {ADDRESS}:{port} ({reason}); give another, or 0 for "
            "one that is free"
        ) from None
    # The workers of one request hold products to one thread each, and those of another let go of
    # it: here one hold outlasts them all.
    with server, workers(1):
        explain("", tokenizer, run.params, run.config)  # compiles the kernels: nobody waits later
        yield server


def _map_until(gone, run):
    """`run`, a map, that gives up as soon as nobody waits: a sentence of 128 tokens is read 129
    times, and whoever types, or moves a slider, asks anew before that; Ctrl-C ends it all."""

    def map_until_gone(function, items):
        def work(item):
            if gone():
                raise ConnectionAbortedError
            return function(item)

        return run(work, items)

    return map_until_gone


def read_request(request, config):
    """The sentence of a request's JSON, and the config to read it with. Raises ValueError."""
    from ..analysis.explanation_page import most_steps

    if not isinstance(request, dict):
        raise ValueError("send an object: sentence, steps, threshold")
    sentence, steps, threshold = (request.get(k) for k in ("sentence", "steps", "threshold"))
    if not isinstance(sentence, str):
        raise ValueError("sentence: send a text")
    if type(steps) is not int or not 1 <= steps <= most_steps(config):
        raise ValueError(f"steps: send a whole number from 1 to {most_steps(config)}")
    if type(threshold) not in (int, float) or not abs(threshold) < 1e6:
        raise ValueError("threshold: send a number")
    neuron = replace(config.neuron, v_th=float(threshold))
    # Half a character, as JSON may hold one, is none.
    sentence = sentence.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return sentence, replace(config, steps=steps, neuron=neuron)

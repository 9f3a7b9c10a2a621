"""Export a checkpoint as a folder that diffusers loads."""

import argparse
import sys

from diffrop.console.options import add_sampler, command_parser
from diffrop.console.typed import at_least_0, local_path, new_folder
from diffrop.edge import errors_to_exit


def parse(argv: list[str]) -> argparse.Namespace:
    """Return the parsed options."""
    parser = command_parser(__doc__, "%(prog)s --checkpoint FILE --out DIR")
    add = parser.add_argument
    add("--checkpoint", type=local_path, required=True, metavar="FILE", help="a .safetensors file")
    add("--out", type=new_folder, required=True, metavar="DIR", help="new folder")
    add(
        "--omega",
        type=at_least_0,
        default=0.0,
        metavar="X",
        help="guidance scale that the pipeline takes by default (0, no guidance)",
    )
    add_sampler(parser)
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Export; return the exit code."""
    args = parse(argv)
    with errors_to_exit(argv):
        from diffrop.checkpoint_file import read_checkpoint
        from diffrop.export import export_pipeline

        export_pipeline(read_checkpoint(args.checkpoint), args.out, args.omega, args.sampler)
        print(f"pipeline in {args.out}/; load it with")
        print(f"DiffusionPipeline.from_pretrained({str(args.out)!r}, trust_remote_code=True)")
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

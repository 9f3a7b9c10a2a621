"""Export a checkpoint as a folder that diffusers loads."""

import argparse

from diffrop.console.call import Call
from diffrop.console.options import add_sampler, command_parser
from diffrop.console.typed import at_least_0, local_path, new_folder
from diffrop.edge import errors_to_exit


def parser(command: str) -> argparse.ArgumentParser:
    """Return the parser of the options."""
    found = command_parser(command, __doc__, "%(prog)s --checkpoint FILE --out DIR")
    add = found.add_argument
    add("--checkpoint", type=local_path, required=True, metavar="FILE", help="a .safetensors file")
    add("--out", type=new_folder, required=True, metavar="DIR", help="new folder")
    add(
        "--omega",
        type=at_least_0,
        default=0.0,
        metavar="X",
        help="guidance scale that the pipeline takes by default (0, no guidance)",
    )
    add_sampler(found)
    return found


def main(call: Call) -> int:
    """Export; return the exit code."""
    args = parser(call.command).parse_args(call.argv)
    with errors_to_exit(call.argv):
        from diffrop.checkpoint_file import read_checkpoint
        from diffrop.export import export_pipeline

        export_pipeline(read_checkpoint(args.checkpoint), args.out, args.omega, args.sampler)
        print(f"pipeline in {args.out}/; load it with")
        print(f"DiffusionPipeline.from_pretrained({str(args.out)!r}, trust_remote_code=True)")
        return 0

"""Export a checkpoint as a folder that diffusers loads."""

import argparse

from diffrop.console.call import Call
from diffrop.console.drawing import add_drawing, drawing_of
from diffrop.console.options import command_parser
from diffrop.console.shown import told_apart
from diffrop.console.typed import local_path, new_folder
from diffrop.edge import errors_to_exit


def parser(command: str) -> argparse.ArgumentParser:
    """Return the parser of the options."""
    found = command_parser(command, __doc__, "%(prog)s --checkpoint FILE --out DIR")
    add = found.add_argument
    add("--checkpoint", type=local_path, required=True, metavar="FILE", help="a .safetensors file")
    add("--out", type=new_folder, required=True, metavar="DIR", help="new folder")
    add_drawing(found)
    return found


def main(call: Call) -> int:
    """Export; return the exit code."""
    args = parser(call.command).parse_args(call.argv)
    with errors_to_exit(call.argv):
        how = drawing_of(args.checkpoint, args.omega, args.sampler)
        with told_apart() as tell:
            from diffrop.checkpoint_file import read_checkpoint
            from diffrop.export import export_pipeline

            checkpoint = read_checkpoint(args.checkpoint)
            tell("writing the pipeline", None)
            export_pipeline(checkpoint, args.out, how.omega, how.sampler)
        if how.words:
            print(how.words)
        print(f"pipeline in {args.out}/; load it with")
        print(f"DiffusionPipeline.from_pretrained({str(args.out)!r}, trust_remote_code=True)")
        return 0

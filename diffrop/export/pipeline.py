"""Class-conditional sampling with classifier-free guidance, as a diffusers pipeline.

This file travels with every exported folder and needs torch and diffusers alone:

    pipeline = DiffusionPipeline.from_pretrained(FOLDER, trust_remote_code=True)
    images = pipeline(class_labels=[0, 1, 2]).images
"""

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput, SchedulerMixin, UNet2DModel
from torch import Tensor, nn


class DiffropPipeline(DiffusionPipeline):
    """A scheduler of diffusers over the sampler's own timesteps, from T - 1 down."""

    model_cpu_offload_seq = "unet"
    _optional_components = ("guide",)

    def __init__(
        self,
        unet: UNet2DModel,
        scheduler: SchedulerMixin,
        class_names: list[str] = [],  # noqa: B006 - diffusers reads the type, and copies it
        sampler: str = "ddim",
        num_inference_steps: int = 50,
        guidance_scale: float = 0.0,
        guidance_interval: list[float] = [0.0, 1.0],  # noqa: B006
        norm_channels_per_group: int = 4,
        norm_max_groups: int = 32,
        guide: UNet2DModel | None = None,
    ) -> None:
        """Take the parts of a folder.

        Args:
            unet: eps_theta; its last class label is the null label.
            scheduler: takes the steps.
            class_names: of labels 0, 1, ...
            sampler: "ddim", "dpmpp", "heun" or "ancestral".
            num_inference_steps: unless a call gives another; the ancestral sampler takes all.
            guidance_scale: omega, unless a call gives another; 0 is no guidance.
            guidance_interval: [low, high]; omega applies at timesteps t with low <= t / T < high.
            norm_channels_per_group: each GroupNorm has at least so many channels in a group,
            norm_max_groups: and at most so many groups. diffusers' network has one number for all.
            guide: the weaker network that guidance goes away from; None is unet's null label.
        """
        super().__init__()
        networks = [unet] if guide is None else [unet, guide]
        for module in (module for network in networks for module in network.modules()):
            if isinstance(module, nn.GroupNorm):
                most = min(norm_max_groups, module.num_channels // norm_channels_per_group)
                module.num_groups = next(
                    g for g in range(most, 0, -1) if module.num_channels % g == 0
                )
        self.register_modules(unet=unet, scheduler=scheduler, guide=guide)
        self.register_to_config(
            class_names=list(class_names),
            sampler=sampler,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            guidance_interval=list(guidance_interval),
            norm_channels_per_group=norm_channels_per_group,
            norm_max_groups=norm_max_groups,
        )

    @torch.no_grad()
    def __call__(
        self,
        class_labels: Sequence[int | str],
        guidance_scale: float | None = None,
        num_inference_steps: int | None = None,
        generator: torch.Generator | None = None,
        latents: Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
    ) -> ImagePipelineOutput | tuple[object]:
        """Draw an image for each label.

        Args:
            class_labels: numbers or names of classes.
            guidance_scale: omega in (1 + omega) eps(c) - omega eps(null), or eps(c) of the guide.
            num_inference_steps: 1 to T; the ancestral sampler takes all.
            generator: of the noise.
            latents: x_T (N, C, H, W) instead of noise from the generator.
            output_type: "pil", "np" (N, H, W, C) in [0, 1], or "pt" (N, C, H, W) in [-1, 1].
            return_dict: whether to return an ImagePipelineOutput, or a tuple.

        Raises:
            ValueError: a label is no class, or there is no such number of steps.
        """
        device, config = self._execution_device, self.unet.config
        labels = torch.tensor([self._label(label) for label in class_labels], device=device)
        shape = (len(labels), config.in_channels, config.sample_size, config.sample_size)
        omega = self.config.guidance_scale if guidance_scale is None else guidance_scale
        x_t = self._noise(shape, generator) if latents is None else latents.to(device)
        timesteps = self._timesteps(num_inference_steps or self.config.num_inference_steps)
        self.scheduler.set_timesteps(timesteps=timesteps)
        options = {"generator": generator} if self.config.sampler == "ancestral" else {}
        if self.config.sampler == "heun":  # it goes on from x_t / alpha
            x_t = x_t * (self.scheduler.sigmas[0] ** 2 + 1) ** 0.5
        for step in self.scheduler.timesteps:
            scale = omega if self._is_guided(step) else 0.0
            eps = self._guided(self.scheduler.scale_model_input(x_t, step), step, labels, scale)
            x_t = self.scheduler.step(eps, step, x_t, **options).prev_sample
        images: object = x_t
        if output_type != "pt":
            pixels = (x_t.clamp(-1, 1).cpu().permute(0, 2, 3, 1).numpy() + 1) / 2
            images = self.numpy_to_pil(pixels) if output_type == "pil" else pixels
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    def _label(self, label: int | str) -> int:
        names = self.config.class_names
        if isinstance(label, str) and label in names:
            return int(names.index(label))
        if isinstance(label, int | np.integer) and 0 <= label < len(names):
            return int(label)
        raise ValueError(
            f"class label is {label!r}; allowed: 0 to {len(names) - 1}, or {', '.join(names)}"
        )

    def _noise(self, shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
        device = self._execution_device if generator is None else generator.device
        return torch.randn(shape, generator=generator, device=device).to(self._execution_device)

    def _timesteps(self, count: int) -> list[int]:
        """Return where the network is evaluated, falling from T - 1, each timestep once."""
        config = self.scheduler.config
        total = config.num_train_timesteps
        if self.config.sampler == "ancestral":
            return list(range(total - 1, -1, -1))
        if not 1 <= count <= total:
            raise ValueError(f"num_inference_steps is {count}; allowed: 1 to {total}")
        signal = np.cumprod(1 - np.linspace(config.beta_start, config.beta_end, total))
        ratio = np.sqrt((1 - signal) / signal)
        measure = {"dpmpp": np.log(ratio), "heun": ratio ** (1 / 7)}.get(
            self.config.sampler, np.arange(total)
        )
        dropped = self.config.sampler == "dpmpp"  # the clean image stands for timestep 0
        wanted = np.linspace(measure[-1], measure[0], count + dropped)[:count]
        found, below = [], total
        for left, place in enumerate(np.interp(wanted, measure, np.arange(total)).round()):
            below = max(count - 1 - left, min(int(place), below - 1))
            found.append(below)
        return found

    def _is_guided(self, step: Tensor) -> bool:
        low, high = self.config.guidance_interval
        return bool(low <= int(step) / self.scheduler.config.num_train_timesteps < high)

    def _guided(self, x_t: Tensor, step: Tensor, labels: Tensor, omega: float) -> Tensor:
        if omega == 0:
            return self.unet(x_t, step, labels).sample
        if self.guide is None:
            null = torch.full_like(labels, len(self.config.class_names))
            both = self.unet(torch.cat([x_t, x_t]), step, torch.cat([labels, null])).sample
            eps, weaker = both.chunk(2)
        else:
            eps, weaker = (net(x_t, step, labels).sample for net in (self.unet, self.guide))
        return eps + omega * (eps - weaker)

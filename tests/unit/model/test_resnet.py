"""The appearance backbone against torchvision's ResNet-50 with the same weights."""

from __future__ import annotations

import torch
from torchvision.models import resnet50

from acclimate.model.resnet import IMAGENET_MEAN, IMAGENET_STD, ResNet


def test_its_three_stages_are_torchvisions() -> None:
    torch.manual_seed(0)
    whole = resnet50(weights=None).eval()
    for name, value in whole.named_buffers():
        if "running" in name:
            value.copy_(torch.rand_like(value) + 0.5)
    ours = ResNet((3, 4, 6), 64)
    ours.load_state_dict(
        {k: v for k, v in whole.state_dict().items() if not k.startswith(("layer4", "fc"))}
    )
    image = torch.rand(2, 3, 96, 64) * 255
    x = image - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
    x = x / torch.tensor(IMAGENET_STD).view(3, 1, 1)
    with torch.no_grad():
        x = whole.maxpool(whole.relu(whole.bn1(whole.conv1(x))))
        expected = [x := layer(x) for layer in (whole.layer1, whole.layer2, whole.layer3)]
        maps = ours(image)
    assert [tuple(m.shape[1:]) for m in maps] == [(1024, 6, 4), (512, 12, 8), (256, 24, 16)]
    for mine, theirs in zip(maps, reversed(expected), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_training_leaves_its_statistics_alone() -> None:
    resnet = torch.nn.Sequential(ResNet((1, 1, 1), 8)).train()
    before = {k: v.clone() for k, v in resnet.state_dict().items()}
    resnet(torch.rand(2, 3, 32, 32) * 255).pop().sum().backward()
    assert all(torch.equal(v, before[k]) for k, v in resnet.state_dict().items())

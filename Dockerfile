# Detection on a CPU in a small image:
#   docker build -t kitti-detect .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" kitti-detect street.jpg --weights best.pt --output found
FROM python:3.11-slim

# What OpenCV's window toolkit is linked against; nothing is shown here, but it does not load without.
RUN apt-get update && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 && rm -rf /var/lib/apt/lists/*

WORKDIR /source
COPY requirements.txt constraints.txt ./
# Of one version, pip takes the one marked +cpu, which brings no CUDA libraries.
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu -c constraints.txt -r requirements.txt
COPY . .
RUN pip install --no-cache-dir --no-deps .

ENV HOME=/tmp
WORKDIR /work
ENTRYPOINT ["kitti-detect"]

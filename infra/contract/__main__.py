"""Writes all files of the contract: `make contract`."""

from infra.contract.files import files

if __name__ == "__main__":
    for path, content in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

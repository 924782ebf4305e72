"""Solove's taxonomy of privacy: four categories of activities that can harm it, sixteen subcategories.

References:
    Solove (2006), A Taxonomy of Privacy, University of Pennsylvania Law Review 154(3), 477-564. Names and structure are his;
    descriptions and examples are written for this project.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Subcategory:
    """One kind of activity that can violate privacy.

    Attributes:
        category: One of the four categories.
        name: The subcategory's name.
        description: What it is, in one sentence.
        violations: Statements that describe a violation of this kind.
        acceptable: Statements about the same kind of situation that violate nothing.
    """

    category: str
    name: str
    description: str
    violations: tuple[str, ...]
    acceptable: tuple[str, ...]


TAXONOMY: tuple[Subcategory, ...] = (
    Subcategory(
        category="Information collection",
        name="Surveillance",
        description="Watching, listening to or recording what people do, without their knowledge or against their will.",
        violations=(
            "A landlord hides a camera in the smoke detector of a rented bedroom.",
            "A boss installs software that silently records the private chats on employees' own phones.",
            "A neighbour flies a drone over the fence every evening to film a family at dinner.",
        ),
        acceptable=(
            "A shop posts a clear notice at the door that its aisles are filmed to prevent theft.",
            "A couple agrees to watch the sleeping baby through a monitor in the nursery.",
            "A cyclist records her own rides with a camera on her helmet.",
        ),
    ),
    Subcategory(
        category="Information collection",
        name="Interrogation",
        description="Pressing people with questions for information that they do not want to give and do not owe.",
        violations=(
            "An interviewer insists on knowing whether an applicant plans to become pregnant.",
            "A teacher makes a pupil explain to the whole class why his parents separated.",
            "A club refuses entry until a guest tells the doorman which illnesses she has had.",
        ),
        acceptable=(
            "A pharmacist asks which other medicines a customer takes before selling a painkiller.",
            "A survey about eating habits says that every question may be skipped.",
            "A librarian asks for an address to issue a library card.",
        ),
    ),
    Subcategory(
        category="Information processing",
        name="Aggregation",
        description="Combining scattered pieces of information about a person into a picture that no single piece reveals.",
        violations=(
            "A data broker joins church visits, pharmacy receipts and phone locations into a file on each resident of a town.",
            "An insurer buys gym records and shopping histories to build secret health profiles of its customers.",
            "A stranger collects years of a woman's public posts to work out her daily route and shares the map.",
        ),
        acceptable=(
            "A bank shows its customer a summary of her own spending by month.",
            "A city publishes the total number of bus passengers for each district.",
            "A historian gathers public records about a mayor who died two centuries ago.",
        ),
    ),
    Subcategory(
        category="Information processing",
        name="Identification",
        description="Linking information that was given without a name to a particular person.",
        violations=(
            "A researcher puts names back on the anonymous answers of a survey about abuse and shows them to colleagues.",
            "A passer-by runs strangers' faces through an app on the train to learn who they are.",
            "A company matches anonymous reviews to staff accounts to find out who complained.",
        ),
        acceptable=(
            "A traveller shows his passport to board an international flight.",
            "A clinic checks a patient's date of birth before handing over her own test results.",
            "A writer signs his article with his full name.",
        ),
    ),
    Subcategory(
        category="Information processing",
        name="Insecurity",
        description="Careless protection of personal information, so that it can leak or be abused.",
        violations=(
            "A clinic keeps unencrypted patient files on a laptop that it leaves in an unlocked car.",
            "A web shop stores its customers' card numbers in a file that anyone can download.",
            "An office throws payslips with bank details into the open recycling bin in the street.",
        ),
        acceptable=(
            "A school locks its paper records in a cabinet to which two people hold a key.",
            "A bank makes its customers confirm large transfers on a second device.",
            "A charity shreds the donation forms that it no longer needs.",
        ),
    ),
    Subcategory(
        category="Information processing",
        name="Secondary use",
        description="Using information for another purpose than the one for which it was given, without asking.",
        violations=(
            "A hospital sells the e-mail addresses of its patients to a maker of diet pills.",
            "A phone number given for account security is used to send advertisements.",
            "A school passes photographs taken for pupil cards to a firm that trains face recognition.",
        ),
        acceptable=(
            "A courier uses a delivery address to bring the parcel that was ordered.",
            "A hospital asks each patient for permission before samples are used in a study.",
            "A newsletter writes only to the people who subscribed to it.",
        ),
    ),
    Subcategory(
        category="Information processing",
        name="Exclusion",
        description="Keeping people from knowing what is held about them and from having a say in it.",
        violations=(
            "A credit agency refuses to tell a man which entries led to his rejection.",
            "An employer keeps secret files on its workers and denies that they exist.",
            "A website gives its users no way to see, correct or delete their profiles.",
        ),
        acceptable=(
            "A doctor's office lets patients read and correct their own records.",
            "An app lists everything that it stores and offers a button that deletes it.",
            "A council informs residents how long it keeps their parking data.",
        ),
    ),
    Subcategory(
        category="Information dissemination",
        name="Breach of confidentiality",
        description="Breaking a promise, spoken or implied by a role, to keep information secret.",
        violations=(
            "A therapist tells her friends at dinner what a named patient confessed.",
            "A lawyer forwards a client's private letters to a journalist.",
            "A nurse texts her cousin that their neighbour has tested positive for HIV.",
        ),
        acceptable=(
            "A doctor discusses a case with a colleague after the patient has agreed.",
            "A counsellor explains at the first session what will remain confidential.",
            "An accountant returns the tax file to the client who owns it.",
        ),
    ),
    Subcategory(
        category="Information dissemination",
        name="Disclosure",
        description="Making true private facts about a person known to others in a way that harms how that person is seen.",
        violations=(
            "A manager announces at a staff meeting that a colleague is in treatment for alcoholism.",
            "A man publishes the private letters in which his sister writes about her abortion.",
            "A student posts the failing grades of a classmate on the notice board.",
        ),
        acceptable=(
            "A newspaper reports the published salary of a minister.",
            "A woman tells her own story of recovery in a radio interview.",
            "A team celebrates the promotion of a colleague who is happy to share the news.",
        ),
    ),
    Subcategory(
        category="Information dissemination",
        name="Exposure",
        description="Showing others the body or the bodily and emotional states that a person keeps out of sight.",
        violations=(
            "A gym member uploads a photograph of a stranger undressing in the changing room.",
            "A crew broadcasts close pictures of a mother weeping over her child's body, against her plea.",
            "An ex-boyfriend sends intimate pictures of a woman to her colleagues.",
        ),
        acceptable=(
            "A hospital draws the curtain around the bed before an examination.",
            "A model consents in writing to the publication of a nude portrait.",
            "A textbook shows a drawing of the human body.",
        ),
    ),
    Subcategory(
        category="Information dissemination",
        name="Increased accessibility",
        description="Making information that was hard to reach easy for anyone to find.",
        violations=(
            "A website collects the home addresses of judges from old court files and makes them searchable.",
            "A group puts decades of eviction records online so that any landlord can look up a family by name.",
            "A user posts a map of the houses in which people with a certain illness live.",
        ),
        acceptable=(
            "A museum puts its catalogue of paintings online.",
            "A court publishes a ruling after removing the names of the children in it.",
            "A town adds its bus timetable to a public map.",
        ),
    ),
    Subcategory(
        category="Information dissemination",
        name="Blackmail",
        description="Threatening to reveal a secret unless a demand is met.",
        violations=(
            "A hacker demands money from a man and threatens to send his private messages to his wife.",
            "A supervisor hints that a worker's criminal past will come out unless she drops her complaint.",
            "A classmate asks for homework in return for not spreading a boy's diary.",
        ),
        acceptable=(
            "A tenant tells the landlord that she will go to court if the heating is not repaired.",
            "A shop asks for payment before it releases a repaired watch.",
            "A friend who found a diary gives it back unread.",
        ),
    ),
    Subcategory(
        category="Information dissemination",
        name="Appropriation",
        description="Using another person's name, likeness or identity for one's own ends.",
        violations=(
            "A dentist advertises with a patient's photograph without asking him.",
            "A man opens a dating profile with the pictures and the name of his former teacher.",
            "A firm clones the voice of a radio host for its commercials without her consent.",
        ),
        acceptable=(
            "An actor signs a contract that lets a brand use his picture for a year.",
            "A school prints a pupil's drawing with the permission of the pupil and her parents.",
            "A quotation in an essay is credited to its author.",
        ),
    ),
    Subcategory(
        category="Information dissemination",
        name="Distortion",
        description="Spreading false or misleading information about a person.",
        violations=(
            "A rival spreads the rumour that a baker was treated for a contagious disease, which is untrue.",
            "A site edits a photograph so that a teacher seems to be drunk at work.",
            "A reporter attributes to a refugee a conviction that belongs to another man of the same name.",
        ),
        acceptable=(
            "A paper corrects a wrong age in yesterday's portrait of a swimmer.",
            "A satirical show exaggerates the public speeches of a president.",
            "A referee names in his letter both strengths and weaknesses that he has seen.",
        ),
    ),
    Subcategory(
        category="Invasion",
        name="Intrusion",
        description="Entering a person's space, seclusion or peace without invitation.",
        violations=(
            "A salesman walks through the garden and looks into the bedroom windows of a house.",
            "A flatmate goes through the drawers and the letters of the person who shares the flat.",
            "A fan follows a singer home every night and rings at her door.",
        ),
        acceptable=(
            "A plumber enters a flat at the hour that was agreed with the tenant.",
            "A friend knocks and waits to be asked in.",
            "A neighbour calls the fire brigade when smoke comes from the next flat.",
        ),
    ),
    Subcategory(
        category="Invasion",
        name="Decisional interference",
        description="Interfering, from outside, with decisions that are a person's own, such as about body, family or faith.",
        violations=(
            "An employer orders its staff to report and justify their use of contraception.",
            "An official pressures a couple to end a pregnancy by threatening to take away their flat.",
            "A school forces a pupil to name her religion and to attend a service of another one.",
        ),
        acceptable=(
            "A doctor explains the risks of two treatments and leaves the choice to the patient.",
            "A sister gives advice about a wedding after being asked for it.",
            "A clinic offers free counselling that nobody has to accept.",
        ),
    ),
)
"""The sixteen subcategories, in Solove's order."""
